//! What all requests share: the models, the processors, the bounds, the counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::Extensions;
use taggram::Model;

use crate::budget::Budget;
use crate::guests::{Guest, Guests};
use crate::metrics::Metrics;
use crate::problem::{Code, Problem};
use crate::turns::Turns;
use crate::{Config, ServeError};

/// A service that is ready to answer: give it to [`router`](crate::router) or [`serve`](crate::serve).
pub struct Service {
    pub(crate) config: Config,
    models: Vec<Arc<Model>>,
    pub(crate) turns: Turns,
    /// Songs in the queue or listened to.
    pub(crate) queue: Budget,
    /// Songs under way of each client.
    guests: Guests,
    /// Songs listened to while they arrive.
    pub(crate) streams: Budget,
    /// Bytes of bodies in memory.
    pub(crate) memory: Budget,
    pub(crate) metrics: Metrics,
    stopping: AtomicBool,
}

impl Service {
    /// A service for these models; the first answers where a request names none.
    ///
    /// # Errors
    /// Without a model, or with two of one name.
    pub fn new(models: Vec<Model>, config: Config) -> Result<Arc<Self>, ServeError> {
        if models.is_empty() {
            return Err(ServeError::Models("a service needs a model".to_string()));
        }
        for (i, model) in models.iter().enumerate() {
            if models[..i].iter().any(|other| other.name() == model.name()) {
                return Err(ServeError::Models(format!("two models are called {}", model.name())));
            }
        }
        let metrics = Metrics::new().map_err(|e| ServeError::Models(e.to_string()))?;
        Ok(Arc::new(Self {
            turns: Turns::new(config.cores),
            queue: Budget::new(config.queue as u64),
            guests: Guests::new(config.per_client),
            streams: Budget::new(config.streams as u64),
            memory: Budget::new(config.max_memory),
            metrics,
            stopping: AtomicBool::new(false),
            models: models.into_iter().map(Arc::new).collect(),
            config,
        }))
    }

    /// The models that answer, the default one first.
    pub fn models(&self) -> &[Arc<Model>] {
        &self.models
    }

    /// From now on answers say that the connection will be closed, and `/readyz` says no.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether the service is about to stop.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// The model of this name, or the first.
    pub(crate) fn model(&self, name: Option<&str>) -> Result<Arc<Model>, Problem> {
        let found = match name {
            None => self.models.first(),
            Some(name) => self.models.iter().find(|m| m.name() == name),
        };
        found.cloned().ok_or_else(|| {
            let names: Vec<&str> = self.models.iter().map(|m| m.name()).collect();
            Problem::new(
                Code::NoModel,
                format!("no such model is served here; there is {}", names.join(", ")),
            )
        })
    }

    /// Lets a request of a client in, unless that has as many under way as it may.
    pub(crate) fn admit(&self, extensions: &Extensions) -> Result<Guest, Problem> {
        self.guests.admit(extensions).ok_or_else(|| {
            let text = match self.guests.most() {
                1 => "a song of yours is under way already; wait for its answer".to_string(),
                most => {
                    format!("{most} songs of yours are under way already; wait for one of them")
                }
            };
            Problem::new(Code::TooMany, text)
        })
    }

    /// What is said to one song too many.
    pub(crate) fn busy(&self) -> Problem {
        let songs = match self.queue.used() {
            1 => "1 song is".to_string(),
            songs => format!("{songs} songs are"),
        };
        Problem::new(Code::Busy, format!("{songs} waiting already; try again in a moment"))
    }
}
