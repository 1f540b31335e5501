//! The pages that the service brings.

pub(crate) mod chat {
    //! The chat page at `/`.

    pub(crate) const PAGE: &str = include_str!("chat/index.html");
    pub(crate) const STYLE: &str = include_str!("chat/chat.css");
    pub(crate) const SCRIPT: &str = include_str!("chat/chat.js");
}
