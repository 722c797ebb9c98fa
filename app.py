"""KD Lab's entry point: `streamlit run app.py`.

Read twice. The server imports it for `app`, which adds the assets that the pages' components load. Streamlit then runs
it as the script of every visit: page config and navigation, nothing else. Worker processes that find it as their
parent's main script take neither branch.
"""

if __name__ == "__main__":
    import streamlit as st

    from pages.shared.frame import run_page
    from pages.shared.server.streamlit_patches import StreamlitPage

    st.set_page_config(page_title="KD Lab", page_icon="pages/shared/icon.svg", layout="wide")

    def page(folder: str, title: str, icon: str) -> StreamlitPage:
        """Return the page of a folder, which its address names too."""
        return st.Page(f"pages/{folder}/page.py", title=title, icon=f":material/{icon}:", url_path=folder)

    start = st.Page("pages/overview/page.py", title="Start", icon=":material/home:", default=True)
    sections = {
        "": [
            start,
            page("temperature", "Temperature", "thermostat"),
            page("train", "Train", "model_training"),
            page("compare", "Compare", "balance"),
        ],
        "Experiments": [
            page("sweep", "Sweep", "grid_on"),
            page("objectives", "Objectives", "leaderboard"),
            page("paper", "Paper", "article"),
            page("mistakes", "Break it", "bug_report"),
        ],
        "Library": [
            page("data", "Data", "photo_library"),
            page("runs", "Runs", "list"),
            page("export", "Export", "ios_share"),
        ],
    }
    run_page(st.navigation(sections, position="top"))
elif __name__ != "__mp_main__":
    import streamlit as st

    from pages.shared.server import routes, server

    app = st.App(__file__, lifespan=server.lifespan, routes=routes.ROUTES, middleware=server.MIDDLEWARE)
