//! Orders to take secrets back, as they change what a volume shows.

use std::collections::BTreeSet;

use provider::{Error, Request};

use super::{Content, may_lack};
use crate::revocation::{Named, On, Revocation};
use crate::volume::freshness::{Freshness, Notice};

/// What following orders changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Obeyed {
    /// Whether an object is covered no more. It is shown again when the store is read.
    pub released: bool,
}

impl Content {
    /// Follows `orders` from now on. Takes back what they cover without asking the store, and does not ask it for that.
    pub fn obey(&mut self, orders: On) -> Obeyed {
        self.orders = orders;
        self.judge_orders()
    }

    /// The orders that it follows.
    pub fn orders(&self) -> &On {
        &self.orders
    }

    /// Why a pod may not start with this content, if an order covers an object that the class needs.
    pub fn refusal(&self) -> Option<Error> {
        let unread = || self.orders.whole().filter(|_| self.objects.is_empty()).map(Revocation::error);
        let refused = |(index, object): (usize, &provider::ObjectRef)| {
            let error = self.order_on(index)?.error().of(&object.name);
            (!may_lack(object, &error)).then_some(error)
        };
        self.extent.objects().iter().enumerate().find_map(refused).or_else(unread)
    }

    /// The order because of which a file was withdrawn, if one was.
    pub fn withdrawing_order(&self) -> Option<&Revocation> {
        let withdrawn = self.objects.iter().enumerate().filter(|(_, state)| state.is_withdrawn());
        withdrawn.filter_map(|(index, _)| self.order_on(index)).next()
    }

    /// An order whose object is shown all the same, because the class says so.
    pub fn kept_order(&self) -> Option<&Revocation> {
        let kept = self.objects.iter().enumerate().filter(|(_, state)| state.good().is_some());
        kept.filter_map(|(index, _)| self.order_on(index)).next()
    }

    /// The order that covers object `index`, if one does.
    pub(super) fn order_on(&self, index: usize) -> Option<&Revocation> {
        if self.orders.is_empty() {
            return None;
        }
        let object = self.extent.objects().get(index)?;
        let origin = self.extent.origin(index).map(|origin| origin.path);
        self.orders.of(Named { name: &object.name, path: object.path.as_str(), origin: origin.as_deref() })
    }

    /// Judges the objects that orders cover, and those that they cover no more.
    pub(super) fn judge_orders(&mut self) -> Obeyed {
        if self.orders.is_empty() && !self.is_covered {
            return Obeyed::default();
        }
        self.is_covered = self.orders.whole().is_some();
        let (extent, mut obeyed, mut free) = (self.extent.clone(), Obeyed::default(), BTreeSet::new());
        for (index, object) in extent.objects().iter().enumerate() {
            let Some(order) = self.order_on(index) else {
                free.insert(object.request.clone());
                obeyed.released |= self.objects.get_mut(index).is_some_and(Freshness::release);
                continue;
            };
            let error = order.error().of(&object.name);
            self.is_covered = true;
            self.failed(index, object, error, Notice::Ordered);
        }
        let covered = extent.objects().iter().map(|object| &object.request);
        obeyed.released |=
            self.hold_back(covered.filter(|request| !free.contains(*request)).cloned().collect());
        obeyed
    }

    /// Reads these requests no more. What only an answer tells is asked for all the same, as long as no order covers
    /// everything. A lease that is covered ends, unless its file stays. Returns whether one is read again that was not.
    fn hold_back(&mut self, mut covered: BTreeSet<Request>) -> bool {
        let source = self.reader.source();
        let listings: Vec<_> = source.trees().iter().map(|tree| tree.request.clone()).collect();
        let listings: Vec<_> =
            listings.into_iter().chain(source.whole().map(|whole| whole.request().clone())).collect();
        match self.orders.whole() {
            Some(_) => covered.extend(listings),
            None => covered.retain(|request| !listings.contains(request)),
        }
        let stays = self.policy.on_ordered == manifest::OnRevoked::Keep;
        self.reader.hold_back(covered, stays)
    }
}
