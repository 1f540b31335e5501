//! Turnpike: an event-driven chat service for company chatbots.
//!
//! The path of one turn, module by module:
//!
//! 1. [`http`] accepts the request, finds the company by its key and asks the engine for a turn.
//! 2. [`pipeline`] runs it: language, intent, passages, prompt, answer. What it says goes into a [`pipeline::live`] turn,
//!    which any number of clients read as a stream; what it does is published as [`domain::event`]s.
//! 3. [`knowledge`] is what the answer is made from: documents cut into passages, encoded and searched.
//! 4. [`spool`] takes the events and, last, the turn's record. When that is on disk the client reads `done`.
//! 5. The spool forwards to the bus; from there on [`jobs`] have the turn: persist stores it, deliver sends webhooks.
//!
//! [`transfer`] carries companies from one backend to another.
//!
//! [`domain`] is what all of them talk about, [`ports`] what they need of the outside, [`adapters`] who provides it, and
//! [`roles`] the only place that knows which. [`config`] reads the settings, [`cli`] the command line.

pub mod adapters;
pub mod cli;
pub mod config;
pub mod domain;
pub mod http;
pub mod jobs;
pub mod knowledge;
pub mod pipeline;
pub mod ports;
pub mod roles;
pub mod runtime;
pub mod spool;
pub mod transfer;
mod web;
