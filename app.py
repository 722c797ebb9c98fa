"""KD Lab's entry point: `streamlit run app.py`.

Read twice. The server imports it for `app`, which adds the assets that the pages' components load. Streamlit then runs
it as the script of every visit: page config and navigation, nothing else. Worker processes that find it as their
parent's main script take neither branch.
"""

if __name__ == "__main__":
    import streamlit as st

    from pages.shared.frame import run_page

    st.set_page_config(page_title="KD Lab", page_icon="pages/shared/icon.svg", layout="wide")
    sections = {
        "": [
            st.Page("pages/overview/page.py", title="Start", icon=":material/home:", default=True),
            st.Page(
                "pages/temperature/page.py", title="Temperature", icon=":material/thermostat:", url_path="temperature"
            ),
            st.Page("pages/train/page.py", title="Train", icon=":material/model_training:", url_path="train"),
            st.Page("pages/compare/page.py", title="Compare", icon=":material/balance:", url_path="compare"),
        ],
        "Experiments": [
            st.Page("pages/sweep/page.py", title="Sweep", icon=":material/grid_on:", url_path="sweep"),
            st.Page(
                "pages/objectives/page.py", title="Objectives", icon=":material/leaderboard:", url_path="objectives"
            ),
            st.Page("pages/paper/page.py", title="Paper", icon=":material/article:", url_path="paper"),
            st.Page("pages/mistakes/page.py", title="Break it", icon=":material/bug_report:", url_path="mistakes"),
        ],
        "Library": [
            st.Page("pages/data/page.py", title="Data", icon=":material/photo_library:", url_path="data"),
            st.Page("pages/runs/page.py", title="Runs", icon=":material/list:", url_path="runs"),
            st.Page("pages/export/page.py", title="Export", icon=":material/ios_share:", url_path="export"),
        ],
    }
    run_page(st.navigation(sections, position="top"))
elif __name__ != "__mp_main__":
    import streamlit as st

    from pages.shared.server import routes, server

    app = st.App(__file__, lifespan=server.lifespan, routes=routes.ROUTES, middleware=server.MIDDLEWARE)
