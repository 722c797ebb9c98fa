"""KD Lab's entry point: `streamlit run app.py`.

Read twice. The server imports it for `app`, which adds the assets that the pages' components load. Streamlit then runs
it as the script of every visit: page config and navigation, nothing else. Worker processes that find it as their
parent's main script take neither branch.
"""

if __name__ == "__main__":
    import streamlit as st

    from pages.shared.frame import run_page

    st.set_page_config(page_title="KD Lab", page_icon="pages/shared/icon.svg", layout="wide")
    run_page(
        st.navigation(
            [
                st.Page("pages/overview/page.py", title="Overview", icon=":material/home:", default=True),
                st.Page(
                    "pages/temperature/page.py",
                    url_path="temperature",
                    title="Temperature",
                    icon=":material/thermostat:",
                ),
                st.Page("pages/data/page.py", url_path="data", title="Data", icon=":material/photo_library:"),
                st.Page("pages/train/page.py", url_path="train", title="Train", icon=":material/model_training:"),
                st.Page("pages/runs/page.py", url_path="runs", title="Runs", icon=":material/list:"),
                st.Page("pages/compare/page.py", url_path="compare", title="Compare", icon=":material/balance:"),
                st.Page("pages/sweep/page.py", url_path="sweep", title="Sweep", icon=":material/grid_on:"),
                st.Page(
                    "pages/objectives/page.py", url_path="objectives", title="Objectives", icon=":material/leaderboard:"
                ),
                st.Page("pages/paper/page.py", url_path="paper", title="Paper", icon=":material/article:"),
                st.Page("pages/mistakes/page.py", url_path="mistakes", title="Break it", icon=":material/bug_report:"),
                st.Page("pages/export/page.py", url_path="export", title="Export", icon=":material/ios_share:"),
            ],
            position="top",
        )
    )
elif __name__ != "__mp_main__":
    import streamlit as st

    from pages.shared.server import routes, server

    app = st.App(__file__, lifespan=server.lifespan, routes=routes.ROUTES, middleware=server.MIDDLEWARE)
