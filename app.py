"""KD Lab's front door: `streamlit run app.py`.

Read twice. The server imports it for `app`, which adds the assets that the pages' components load. Streamlit then runs
it as the script of every visit: page config and navigation, nothing else. Worker processes that find it as their
parent's main script take neither branch.
"""

if __name__ == "__main__":
    import streamlit as st

    from pages.widgets.frame import run_page

    st.set_page_config(page_title="KD Lab", page_icon="pages/widgets/icon.svg", layout="wide")
    run_page(
        st.navigation(
            [
                st.Page("pages/overview.py", title="Overview", icon=":material/home:", default=True),
                st.Page("pages/temperature.py", title="Temperature", icon=":material/thermostat:"),
                st.Page("pages/data.py", title="Data", icon=":material/photo_library:"),
                st.Page("pages/train.py", title="Train", icon=":material/model_training:"),
                st.Page("pages/runs.py", title="Runs", icon=":material/list:"),
                st.Page("pages/compare.py", title="Compare", icon=":material/balance:"),
                st.Page("pages/sweep.py", title="Sweep", icon=":material/grid_on:"),
                st.Page("pages/objectives.py", title="Objectives", icon=":material/leaderboard:"),
                st.Page("pages/paper.py", title="Paper", icon=":material/article:"),
                st.Page("pages/mistakes.py", title="Break it", icon=":material/bug_report:"),
                st.Page("pages/export.py", title="Export", icon=":material/ios_share:"),
            ],
            position="top",
        )
    )
elif __name__ != "__mp_main__":
    import streamlit as st

    from pages.widgets import server

    app = st.App(__file__, lifespan=server.lifespan, routes=server.ROUTES, middleware=server.MIDDLEWARE)
