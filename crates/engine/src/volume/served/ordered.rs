//! How a served volume follows orders to take secrets back.

use std::sync::Arc;

use metrics::Withdrawal;
use provider::{Error, ErrorKind};

use super::Served;
use crate::revocation::On;
use crate::snapshot::Snapshot;
use crate::volume;
use crate::volume::content::Assembled;
use crate::volume::covered::without;
use crate::volume::freshness::Notice;
use crate::volume::on_open::OnOpen;
use crate::volume::report::Outlook;

impl Served {
    /// Takes back what the orders of now cover, without asking the store. Reads again what they cover no more.
    pub(super) async fn follow_orders(&mut self) {
        if self.obey().await {
            drop(self.refresh(None, Notice::Pushed).await);
        }
    }

    /// The same, but reads nothing. Returns whether something may be shown again.
    pub(super) async fn obey(&mut self) -> bool {
        let orders = self.parts.in_force.on(&self.publish.subject, &self.publish.class);
        if let Some(on_open) = &self.on_open {
            self.obey_asking(on_open, &orders);
            return false;
        }
        let Some(content) = self.content.as_mut().filter(|_| self.followed.as_ref() != Some(&orders)) else {
            return false;
        };
        if orders.is_empty() && content.orders().is_empty() {
            self.followed = Some(orders);
            return false;
        }
        let obeyed = content.obey(orders.clone());
        self.followed = Some(orders);
        if self.show().await.is_err() {
            // The other files cannot be completed now. What is to go goes all the same.
            self.take_covered_away().await;
        }
        self.tell_of_order();
        obeyed.released
    }

    /// Takes back what was read for who opened a file.
    fn obey_asking(&self, on_open: &OnOpen, orders: &On) {
        if orders.is_empty() {
            return;
        }
        let taken = on_open.obey(orders);
        let provider = on_open.wanted().map(|wanted| wanted.class().provider.clone()).unwrap_or_default();
        let withdrawn = (&taken, Withdrawal::Revoked, orders.first());
        self.parts.reporter.withdrawn(&self.publish, &provider, &Snapshot::default(), withdrawn);
    }

    /// Takes files away that orders cover, from what is shown, whatever is known of the others.
    async fn take_covered_away(&mut self) {
        let shown = self.showing.get();
        let class = self.content.as_ref().map(|content| Arc::clone(content.class()));
        let paths = shown.iter().map(|(path, _)| path);
        let withdrawn = self.parts.covered_files(&self.publish, class.as_deref(), paths);
        if withdrawn.is_empty() {
            return;
        }
        let assembled = Assembled { snapshot: without(&shown, &withdrawn), withdrawn };
        if let Err(error) = self.replace(&assembled).await {
            tracing::error!(volume = %self.publish.id, %error, "what was revoked by an order is still shown; tried again soon");
            self.followed = None;
            return self.retry_soon(&error);
        }
        let provider = class.as_ref().map_or("", |class| &class.provider);
        let order = self.content.as_ref().and_then(|content| content.withdrawing_order());
        self.showing.set(&Arc::new(assembled.snapshot));
        let withdrawn = (&assembled.withdrawn, Withdrawal::Revoked, order);
        self.parts.reporter.withdrawn(&self.publish, provider, &shown, withdrawn);
    }

    fn retry_soon(&mut self, error: &volume::Error) {
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(tokio::time::Instant::now());
        self.failed = Some(Error::new(ErrorKind::Unavailable, error.to_string()));
    }

    /// Tells once of an order whose files stay, because the class says so.
    fn tell_of_order(&mut self) {
        let order = self.content.as_ref().and_then(|content| content.kept_order());
        let Some(order) = order else {
            self.told_order = None;
            return;
        };
        if self.told_order.as_ref() == Some(&order.told()) {
            return;
        }
        let provider = self.content.as_ref().map_or("", |content| &content.class().provider);
        self.parts.reporter.failed(&self.publish, provider, &order.error(), Outlook::Stay, false);
        self.told_order = Some(order.told());
    }
}
