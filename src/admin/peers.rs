use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Connections of one peer that are served at the same time. One Prometheus needs one or two.
const MOST_OF_A_PEER: usize = 16;

/// The number of connections of each peer.
#[derive(Debug, Clone, Default)]
pub(super) struct Peers(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

/// The place of one connection. Dropping it frees the place.
pub(super) struct Seat {
    peers: Peers,
    peer: IpAddr,
}

impl Peers {
    /// A place for a connection from `address`, if its peer has one left.
    pub(super) fn seat(&self, address: IpAddr) -> Option<Seat> {
        let peer = peer(address);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(peer).or_default();
        if *count >= MOST_OF_A_PEER {
            return None;
        }
        *count += 1;
        Some(Seat { peers: self.clone(), peer })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self.peers.0.lock().unwrap_or_else(PoisonError::into_inner);
        match counts.get_mut(&self.peer) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(counts.remove(&self.peer)),
        }
    }
}

/// The peer of an address. With IPv6 one machine may use a whole network of 64 bits, so that network is one peer.
fn peer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back_with_their_connections_and_one_network_of_ipv6_is_one_peer() {
        let peers = Peers::default();
        let seat = |address: &str| peers.seat(address.parse().unwrap());

        let seats: Vec<_> = (0..MOST_OF_A_PEER).map(|n| seat(&format!("2001:db8::{n:x}")).unwrap()).collect();
        assert!(seat("2001:db8::ffff").is_none());
        assert!(seat("2001:db8:0:1::").is_some() && seat("192.0.2.1").is_some());
        drop(seats);

        assert!(seat("2001:db8::ffff").is_some());
        assert!(peers.0.lock().unwrap().is_empty());
    }
}
