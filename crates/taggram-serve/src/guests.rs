//! How much one client has under way: so that one does not take every place of the queue.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::Extensions;

/// The other end of a connection, as the server saw it; an extension of every request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub IpAddr);

impl Peer {
    /// Who is counted as one client: an IPv4 address, or the 64 bits of an IPv6 address that
    /// name a network, since a single machine has all the others to choose from.
    fn client(self) -> IpAddr {
        match self.0.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
            v4 => v4,
        }
    }
}

/// Songs under way of each client.
#[derive(Clone)]
pub(crate) struct Guests {
    most: Option<usize>,
    songs: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A client's song that is under way; it is no more when this is dropped.
pub(crate) struct Guest(Option<(Guests, IpAddr)>);

impl Guests {
    /// At most `most` songs of a client at once, if that is bounded.
    pub fn new(most: Option<usize>) -> Self {
        Self { most, songs: Arc::default() }
    }

    /// One song more of the client who sent a request with these extensions; `None` when that is
    /// one too many. A request that came over no socket is nobody's.
    pub fn admit(&self, extensions: &Extensions) -> Option<Guest> {
        let (Some(most), Some(peer)) = (self.most, extensions.get::<Peer>()) else {
            return Some(Guest(None));
        };
        let client = peer.client();
        let mut songs = self.songs.lock().unwrap_or_else(PoisonError::into_inner);
        let count = songs.entry(client).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Guest(Some((self.clone(), client))))
    }

    /// Songs that a client may have under way.
    pub fn most(&self) -> usize {
        self.most.unwrap_or(usize::MAX)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let Some((guests, client)) = self.0.take() else { return };
        let mut songs = guests.songs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = songs.get_mut(&client) {
            *count -= 1;
            // Nobody is remembered who has nothing under way.
            if *count == 0 {
                songs.remove(&client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(address: &str) -> Extensions {
        let mut extensions = Extensions::new();
        extensions.insert(Peer(address.parse().unwrap()));
        extensions
    }

    #[test]
    fn a_client_has_its_share_and_no_more() {
        let guests = Guests::new(Some(2));
        let held = [guests.admit(&from("10.0.0.1")), guests.admit(&from("::ffff:10.0.0.1"))];
        assert!(held.iter().all(Option::is_some));
        assert!(guests.admit(&from("10.0.0.1")).is_none());
        assert!(guests.admit(&from("10.0.0.2")).is_some());
        drop(held);
        assert!(guests.admit(&from("10.0.0.1")).is_some());
        assert!(guests.songs.lock().unwrap().is_empty());

        let one = Guests::new(Some(1));
        let first = one.admit(&from("2001:db8:0:1::7"));
        assert!(first.is_some() && one.admit(&from("2001:db8:0:1:ffff::")).is_none());
        assert!(one.admit(&from("2001:db8:0:2::7")).is_some());
    }

    #[test]
    fn without_a_bound_nobody_is_counted() {
        let guests = Guests::new(None);
        let held: Vec<_> = (0..9).map(|_| guests.admit(&from("10.0.0.1"))).collect();
        assert!(held.iter().all(Option::is_some) && guests.songs.lock().unwrap().is_empty());
    }
}
