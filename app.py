"""KD Lab's entry point: `streamlit run app.py`.

Read twice. The server imports it for `app`, which adds the assets that the pages' components load. Streamlit then runs
it as the script of every visit: page config and navigation, nothing else. Worker processes that find it as their
parent's main script take neither branch.
"""

if __name__ == "__main__":
    import streamlit as st

    from pages.shared import language
    from pages.shared.frame import run_page
    from pages.shared.language import _
    from pages.shared.navigation import SECTIONS, Listed
    from pages.shared.server.streamlit_patches import StreamlitPage

    st.set_page_config(page_title="KD Lab", page_icon="pages/shared/icon.svg", layout="wide")
    language.settle()

    def page(listed: Listed) -> StreamlitPage:
        """Return the page of a folder, which its address names too; the first page is the address itself."""
        file, icon = f"pages/{listed.folder}/page.py", f":material/{listed.icon}:"
        return st.Page(file, title=_(listed.title), icon=icon, url_path=listed.path, default=not listed.path)

    sections = {_(title): [page(listed) for listed in pages] for title, pages in SECTIONS.items()}
    run_page(st.navigation(sections, position="top"))
elif __name__ != "__mp_main__":
    import streamlit as st

    from pages.shared.server import routes, server

    app = st.App(__file__, lifespan=server.lifespan, routes=routes.ROUTES, middleware=server.MIDDLEWARE)
