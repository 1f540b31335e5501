//! The pages that the service brings.

pub(crate) mod chat {
    //! The chat page at `/`.

    pub(crate) const PAGE: &str = include_str!("chat/index.html");
    pub(crate) const STYLE: &str = include_str!("chat/chat.css");
    pub(crate) const SCRIPT: &str = include_str!("chat/chat.js");
}

pub(crate) mod console {
    //! What the pages of the console load, at `/console`.

    pub(crate) const STYLE: &str = include_str!("console/console.css");
    pub(crate) const SCRIPT: &str = include_str!("console/console.js");
}

pub(crate) mod docs {
    //! The description of the HTTP interface for people, at `/docs`, around Swagger UI.

    pub(crate) const PAGE: &str = include_str!("docs/index.html");
    pub(crate) const STYLE: &str = include_str!("docs/docs.css");
    pub(crate) const SCRIPT: &str = include_str!("docs/docs.js");
}

pub(crate) mod widget {
    //! The chat on a company's own pages, as one script that their pages load.

    /// Its parts, of which none leaves a name on the page.
    pub(crate) const SCRIPT: &str = concat!(
        "// Turnpike's widget. How a page gets it: docs/WIDGET.md.\n(() => {\n\"use strict\";\n\nconst STYLE = `\n",
        include_str!("widget/style.css"),
        "`;\n\n",
        include_str!("widget/words.js"),
        "\n",
        include_str!("widget/text.js"),
        "\n",
        include_str!("widget/turns.js"),
        "\n",
        include_str!("widget/widget.js"),
        "\n",
        include_str!("widget/start.js"),
        "})();\n",
    );
}
