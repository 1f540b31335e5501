//! Who provides what the ports ask for. No adapter knows another one; `roles` puts them together.

pub mod sqlite;

pub mod bus {
    //! Adapters of [`crate::ports::bus`].

    pub mod embedded;
    pub mod rabbitmq;
}

pub mod embed {
    //! Adapters of [`crate::ports::embedder`].

    pub mod fastembed;
}

pub mod index {
    //! Adapters of [`crate::ports::index`].

    pub mod edge;
    mod fusion;
    pub mod qdrant;
}

pub mod model {
    //! Adapters of [`crate::ports::model`] and [`crate::ports::upstream`].

    pub mod extractive;
    pub mod gemini;
    pub mod http;
    pub mod openai;
    pub mod scripted;
    mod sse;
    pub mod upstream;
}

pub mod store {
    //! Adapters of [`crate::ports::store`] and [`crate::ports::directory`].

    pub mod mongodb;
    pub mod sqlite;
}

pub mod peer;
pub mod webhook;
