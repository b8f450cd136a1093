use std::sync::Arc;
use std::time::Duration;

use csi_proto::csi::node_service_capability::{Rpc, Type as Capability, rpc};
use csi_proto::csi::volume_usage::Unit;
use csi_proto::csi::{
    NodeGetCapabilitiesRequest, NodeGetCapabilitiesResponse, NodeGetInfoRequest, NodeGetInfoResponse,
    NodeGetVolumeStatsRequest, NodeGetVolumeStatsResponse, NodePublishVolumeRequest,
    NodePublishVolumeResponse, NodeServiceCapability, NodeUnpublishVolumeRequest,
    NodeUnpublishVolumeResponse, VolumeUsage, node_server,
};
use engine::mode::Usage;
use engine::volume::{Published, Volumes};
use metrics::Metrics;
use provider::as_tenant;
use tokio::time::Instant;
use tonic::{Request, Response, Status};
use tracing::{Instrument, Span};

use super::deadline::patience;
use super::request::{self, POD_NAME, POD_NAMESPACE, Requests};
use super::status::{self, Refused, status_of};

/// CSI Node service.
#[derive(Debug)]
pub struct Node {
    /// The name of this node in Kubernetes.
    pub id: String,
    /// The rules for requests.
    pub requests: Requests,
    /// The volumes of this node.
    pub volumes: Arc<Volumes>,
    /// Counts the calls.
    pub metrics: Metrics,
}

impl Node {
    async fn publish(
        &self,
        request: NodePublishVolumeRequest,
        patience: Duration,
    ) -> Result<NodePublishVolumeResponse, Status> {
        let started = Instant::now();
        let mut provider = metrics::Provider::OTHER;
        let outcome = self.try_publish(request, patience, &mut provider).await;
        let took = matches!(outcome, Ok(Published::Mounted)).then(|| started.elapsed());
        let failure = outcome.as_ref().err().map(Refused::error_type);
        let outcome = outcome.map_err(Status::from);
        self.metrics.publish(provider, status::label(&outcome), failure, took);
        outcome.map(|_| NodePublishVolumeResponse {})
    }

    async fn try_publish(
        &self,
        request: NodePublishVolumeRequest,
        patience: Duration,
        provider: &mut metrics::Provider,
    ) -> Result<Published, Refused> {
        let tenant = request.volume_context.get(POD_NAMESPACE).map(|namespace| namespace.as_str().into());
        let (publish, credentials) = as_tenant(tenant, || self.requests.publish(request, patience))?;
        let class = publish.class.clone();
        let pod = publish.subject.pod.as_ref().map_or("", |pod| &pod.name);
        let pod = format!("{}/{pod}", publish.subject.namespace());
        let outcome = self.volumes.publish(publish, credentials).await;
        if let Some(name) = self.volumes.provider_of(&class).await {
            *provider = self.metrics.provider(&name);
        }
        outcome.map_err(|error| Refused::Volume(error, pod))
    }

    async fn unpublish(
        &self,
        request: NodeUnpublishVolumeRequest,
    ) -> Result<NodeUnpublishVolumeResponse, Status> {
        let (id, target) = self.requests.unpublish(request)?;
        self.volumes.unpublish(&id, &target).await.map_err(|error| status_of(&error))?;
        Ok(NodeUnpublishVolumeResponse {})
    }
}

#[tonic::async_trait]
impl node_server::Node for Node {
    async fn node_publish_volume(
        &self,
        request: Request<NodePublishVolumeRequest>,
    ) -> Result<Response<NodePublishVolumeResponse>, Status> {
        let span = publish_span(request.get_ref());
        let patience = patience(request.metadata());
        told(span, self.publish(request.into_inner(), patience)).await
    }

    async fn node_unpublish_volume(
        &self,
        request: Request<NodeUnpublishVolumeRequest>,
    ) -> Result<Response<NodeUnpublishVolumeResponse>, Status> {
        let request = request.into_inner();
        let span = tracing::info_span!("NodeUnpublishVolume", volume = request.volume_id.as_str());
        let answer = async {
            let outcome = self.unpublish(request).await;
            self.metrics.unpublish(status::label(&outcome));
            outcome
        };
        told(span, answer).await
    }

    async fn node_get_volume_stats(
        &self,
        request: Request<NodeGetVolumeStatsRequest>,
    ) -> Result<Response<NodeGetVolumeStatsResponse>, Status> {
        let request = request.into_inner();
        // At debug level, because kubelet asks for every volume every minute.
        let span = tracing::debug_span!("NodeGetVolumeStats", volume = request.volume_id.as_str());
        let answer = async {
            let (id, path) = request::stats(request)?;
            let usage = self.volumes.usage(&id, &path).await.map_err(|error| status_of(&error))?;
            Ok(NodeGetVolumeStatsResponse { usage: usage_entries(usage) })
        };
        told(span, answer).await
    }

    async fn node_get_capabilities(
        &self,
        _: Request<NodeGetCapabilitiesRequest>,
    ) -> Result<Response<NodeGetCapabilitiesResponse>, Status> {
        let capabilities = [rpc::Type::VolumeMountGroup, rpc::Type::GetVolumeStats].map(capability).to_vec();
        Ok(Response::new(NodeGetCapabilitiesResponse { capabilities }))
    }

    async fn node_get_info(
        &self,
        _: Request<NodeGetInfoRequest>,
    ) -> Result<Response<NodeGetInfoResponse>, Status> {
        Ok(Response::new(NodeGetInfoResponse { node_id: self.id.clone(), max_volumes_per_node: 0 }))
    }
}

/// The pod and volume of a publish. Nothing else of the request is ever logged.
fn publish_span(request: &NodePublishVolumeRequest) -> Span {
    let told = |key| request.volume_context.get(key).map_or("", String::as_str);
    tracing::info_span!(
        "NodePublishVolume",
        volume = request.volume_id.as_str(),
        namespace = told(POD_NAMESPACE),
        pod = told(POD_NAME),
    )
}

/// Runs `answer` inside `span` and logs the outcome there.
async fn told<T>(span: Span, answer: impl Future<Output = Result<T, Status>>) -> Result<Response<T>, Status> {
    let told = async {
        let started = Instant::now();
        let outcome = answer.await;
        let ms = started.elapsed().as_millis() as u64;
        match &outcome {
            Ok(_) => tracing::debug!(ms, "done"),
            Err(status) => tracing::warn!(ms, code = ?status.code(), reason = status.message(), "failed"),
        }
        outcome.map(Response::new)
    };
    told.instrument(span).await
}

fn capability(of: rpc::Type) -> NodeServiceCapability {
    NodeServiceCapability { r#type: Some(Capability::Rpc(Rpc { r#type: of.into() })) }
}

fn usage_entries(usage: Usage) -> Vec<VolumeUsage> {
    vec![
        entry(Unit::Bytes, usage.total_bytes, usage.used_bytes),
        entry(Unit::Inodes, usage.total_inodes, usage.used_inodes),
    ]
}

fn entry(unit: Unit, total: u64, used: u64) -> VolumeUsage {
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    VolumeUsage {
        available: number(total.saturating_sub(used)),
        total: number(total),
        used: number(used),
        unit: unit.into(),
    }
}
