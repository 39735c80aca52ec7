//! Bounded things that requests share: places in the queue, and memory for bodies.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// So much of something for all requests together.
#[derive(Clone)]
pub(crate) struct Budget {
    used: Arc<AtomicU64>,
    limit: u64,
}

/// What one request has of a [`Budget`]; given back when dropped.
pub(crate) struct Share {
    budget: Budget,
    held: u64,
}

impl Budget {
    pub fn new(limit: u64) -> Self {
        Self { used: Arc::default(), limit }
    }

    /// A share of `amount`, unless that is more than is left.
    pub fn share(&self, amount: u64) -> Option<Share> {
        let mut share = Share { budget: self.clone(), held: 0 };
        share.grow(amount).then_some(share)
    }

    /// How much is used.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether there is nothing left.
    pub fn is_empty(&self) -> bool {
        self.used() >= self.limit
    }
}

impl Share {
    /// Takes `amount` more; `false`, and nothing taken, when that is more than is left.
    #[must_use]
    pub fn grow(&mut self, amount: u64) -> bool {
        let limit = self.budget.limit;
        let taken = self.budget.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(amount).filter(|&sum| sum <= limit)
        });
        if taken.is_ok() {
            self.held += amount;
        }
        taken.is_ok()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.held, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_can_be_used_again() {
        let budget = Budget::new(10);
        let mut first = budget.share(6).unwrap();
        assert!(budget.share(5).is_none());
        assert!(first.grow(4) && !first.grow(1) && budget.is_empty());
        drop(first);
        assert_eq!(budget.used(), 0);
        assert!(budget.share(u64::MAX).is_none() && budget.share(10).is_some());
    }
}
