//! The watches that fill the caches.

pub mod modes;

use std::sync::Arc;

use gatewatch_crds::NodeTracing;
use gatewatch_policy::read::{API_VERSION, GROUP, VERSION};
use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet},
    batch::v1::{CronJob, Job},
    core::v1::{Namespace, Node, Pod, ReplicationController},
};
use kube::{
    Client, Resource,
    api::{Api, PartialObjectMeta},
    core::{ApiResource, DeserializeGuard, DynamicObject, GroupVersionKind},
    runtime::watcher::Config,
};
use tokio::task::JoinSet;

use crate::{
    agents::Agent,
    caches::{Cache, objects, watch::watch},
    cluster::Cluster,
    kernels::ReportedKernel,
    stored_policy::StoredPolicy,
};

/// The pods of the agent: their namespace, and a label selector.
#[derive(Clone, Debug)]
pub struct AgentPodSource {
    /// The namespace.
    pub namespace: String,
    /// The selector, as `kubectl get -l` takes it.
    pub selector: String,
}

/// Starts a watch for each cache. They end when the set is dropped.
pub fn start(client: &Client, cluster: &Arc<Cluster>, agent_pods: &AgentPodSource) -> JoinSet<()> {
    let mut watches = JoinSet::new();
    policies(&mut watches, client, cluster);
    workloads::<Pod>(&mut watches, client, cluster, Cache::Pod);
    workloads::<Deployment>(&mut watches, client, cluster, Cache::Deployment);
    workloads::<StatefulSet>(&mut watches, client, cluster, Cache::StatefulSet);
    workloads::<DaemonSet>(&mut watches, client, cluster, Cache::DaemonSet);
    workloads::<ReplicaSet>(&mut watches, client, cluster, Cache::ReplicaSet);
    workloads::<ReplicationController>(&mut watches, client, cluster, Cache::ReplicationController);
    workloads::<Job>(&mut watches, client, cluster, Cache::Job);
    workloads::<CronJob>(&mut watches, client, cluster, Cache::CronJob);
    namespaces(&mut watches, client, cluster);
    nodes(&mut watches, client, cluster);
    agents(&mut watches, client, cluster);
    pods_of_agents(&mut watches, client, cluster, agent_pods);
    watches
}

fn policies(watches: &mut JoinSet<()>, client: &Client, cluster: &Arc<Cluster>) {
    for (cache, plural) in [
        (Cache::TracingPolicy, "tracingpolicies"),
        (Cache::TracingPolicyNamespaced, "tracingpoliciesnamespaced"),
    ] {
        let kind = GroupVersionKind::gvk(GROUP, VERSION, cache.name());
        let resource = ApiResource::from_gvk_with_plural(&kind, plural);
        let api = Api::all_with(client.clone(), &resource);
        let cluster = Arc::clone(cluster);
        watches.spawn(async move {
            let namespaced = cache == Cache::TracingPolicyNamespaced;
            // The list may lack the types, which the policy engine reads from the object itself.
            let read = move |object: DeserializeGuard<DynamicObject>| {
                let object = object.0.map_err(|invalid| invalid.error)?;
                let mut value = serde_json::to_value(&object).map_err(|error| error.to_string())?;
                value["apiVersion"] = API_VERSION.into();
                value["kind"] = cache.name().into();
                StoredPolicy::read(&value).map(Some).ok_or_else(|| "not a valid policy".to_owned())
            };
            watch(api, Config::default(), (cache, cluster.health(cache)), read, |change| {
                cluster.policies_changed(change, namespaced);
            })
            .await;
        });
    }
}

/// Watches the parts of the objects of a kind that policies match.
fn workloads<K>(watches: &mut JoinSet<()>, client: &Client, cluster: &Arc<Cluster>, cache: Cache)
where
    K: Resource<DynamicType = ()> + 'static,
{
    let api = Api::all_with(client.clone(), &ApiResource::erase::<K>(&()));
    let cluster = Arc::clone(cluster);
    watches.spawn(async move {
        let read = |object| Ok(objects::cached_workload(cache.name(), object));
        watch(api, Config::default(), (cache, cluster.health(cache)), read, |change| {
            cluster.workloads_changed(change, cache);
        })
        .await;
    });
}

fn namespaces(watches: &mut JoinSet<()>, client: &Client, cluster: &Arc<Cluster>) {
    let api = Api::<PartialObjectMeta<Namespace>>::all(client.clone());
    let cluster = Arc::clone(cluster);
    watches.spawn(async move {
        let read = |object: PartialObjectMeta<Namespace>| {
            let metadata = object.metadata;
            Ok(metadata.name.map(|name| (name, metadata.annotations.unwrap_or_default())))
        };
        let health = (Cache::Namespace, cluster.health(Cache::Namespace));
        watch(api, Config::default(), health, read, |change| cluster.namespaces_changed(change)).await;
    });
}

fn nodes(watches: &mut JoinSet<()>, client: &Client, cluster: &Arc<Cluster>) {
    let api = Api::all_with(client.clone(), &ApiResource::erase::<Node>(&()));
    let cluster = Arc::clone(cluster);
    watches.spawn(async move {
        let health = (Cache::Node, cluster.health(Cache::Node));
        watch(
            api,
            Config::default(),
            health,
            |object| Ok(Some(objects::node(object))),
            |change| {
                cluster.nodes_changed(change);
            },
        )
        .await;
    });
}

fn agents(watches: &mut JoinSet<()>, client: &Client, cluster: &Arc<Cluster>) {
    let api = Api::all(client.clone());
    let cluster = Arc::clone(cluster);
    watches.spawn(async move {
        let read = |object: DeserializeGuard<NodeTracing>| {
            let object = object.0.map_err(|invalid| invalid.error)?;
            let kernel = ReportedKernel {
                release: object.spec.kernel.release,
                hash: object.spec.profile.hash,
                endpoint: object.spec.profile.endpoint,
            };
            let status = object.status.unwrap_or_default();
            Ok(object.metadata.name.map(|name| (name, Agent { kernel, status })))
        };
        let health = (Cache::NodeTracing, cluster.health(Cache::NodeTracing));
        watch(api, Config::default(), health, read, |change| cluster.agents_changed(change)).await;
    });
}

fn pods_of_agents(
    watches: &mut JoinSet<()>,
    client: &Client,
    cluster: &Arc<Cluster>,
    AgentPodSource { namespace, selector }: &AgentPodSource,
) {
    let api = Api::namespaced_with(client.clone(), namespace, &ApiResource::erase::<Pod>(&()));
    let config = Config::default().labels(selector);
    let cluster = Arc::clone(cluster);
    watches.spawn(async move {
        let health = (Cache::AgentPod, cluster.health(Cache::AgentPod));
        watch(
            api,
            config,
            health,
            |object| Ok(objects::agent_pod(object)),
            |change| {
                cluster.agent_pods_changed(change);
            },
        )
        .await;
    });
}
