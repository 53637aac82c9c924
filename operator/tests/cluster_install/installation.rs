//! The base, as an overlay would fit it to a node on this host whose pods have no network of their own.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::thread;

use keywheel_tests::ports;
use keywheel_tests::wait::until_async as until;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::manifests;
use crate::cluster_controller as controller;
use crate::cluster_support::{self as injector, Cluster, image};

/// Where the base is installed.
pub(crate) const NAMESPACE: &str = "keywheel";
const WEBHOOK: &str = "keywheel-operator";
const CONTROLLER: &str = "keywheel-controller";

/// The base, in a cluster.
pub(crate) struct Installation<'a> {
    cluster: &'a Cluster,
    /// Where the webhook listens.
    reviews: u16,
}

impl<'a> Installation<'a> {
    /// Installs it, with two controllers, and waits until all of it is ready. It is asked about the pods of one stage, and keeps the schedules of the
    /// other.
    pub(crate) async fn make(injected: &'a injector::Stage, rotated: &controller::Stage) -> Self {
        let installation = Self { cluster: &injected.cluster, reviews: ports::free() };
        // One that is being deleted is waited for; one that is in use is nobody's to touch.
        installation.until_gone().await;
        installation.delete_what_is_cluster_wide().await;
        let mut objects = manifests::base();
        // As kubectl does: what the others are in comes first, and what needs the others last.
        objects.sort_by_key(|object| match object["kind"].as_str() {
            Some("Namespace") => 0,
            Some("Deployment") => 2,
            _ => 1,
        });
        for mut object in objects {
            match (object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap()) {
                ("MutatingWebhookConfiguration", _) => {
                    let labels = json!({"keywheel-test": injected.namespace});
                    object["webhooks"][0]["namespaceSelector"]["matchLabels"] = labels;
                }
                ("Deployment", WEBHOOK) => {
                    let flags = [
                        format!("--image={}", image()),
                        format!("--listen=127.0.0.1:{}", installation.reviews),
                    ];
                    fit(&mut object, installation.reviews, &flags);
                }
                ("Deployment", CONTROLLER) => {
                    let mut other = object.clone();
                    other["metadata"]["name"] = format!("{CONTROLLER}-b").into();
                    for labels in ["/spec/selector/matchLabels", "/spec/template/metadata/labels"] {
                        other.pointer_mut(labels).unwrap()["replica"] = "b".into();
                    }
                    for (deployment, replica) in [(&mut object, "a"), (&mut other, "b")] {
                        let flags = [
                            format!("--replica={replica}"),
                            "--shortest-interval=1s".to_owned(),
                            format!("--namespace={}", rotated.namespace),
                            format!("--provider-address={}", rotated.faults.address()),
                        ];
                        fit(deployment, 0, &flags);
                    }
                    installation.create(other).await;
                }
                _ => {}
            }
            installation.create(object).await;
        }
        installation.serve().await;
        for name in [WEBHOOK.to_owned(), CONTROLLER.to_owned(), format!("{CONTROLLER}-b")] {
            until(&format!("{name} to be ready"), async || {
                let found = installation.deployments().get(&name).await.unwrap();
                (found.data["status"]["readyReplicas"] == 1).then_some(())
            })
            .await;
        }
        installation
    }

    /// Creates an object of a kind that the server knows.
    async fn create(&self, object: Value) {
        let Some(api) = api(&self.cluster.client, &object).await else { return };
        match api.create(&PostParams::default(), &serde_json::from_value(object.clone()).unwrap()).await {
            // A definition serves whoever needs it.
            Err(kube::Error::Api(status))
                if status.code == 409 && object["kind"] == "CustomResourceDefinition" => {}
            made => drop(made.unwrap_or_else(|error| {
                panic!("{} {}: {error}", object["kind"], object["metadata"]["name"])
            })),
        }
    }

    /// Serves the webhook's Service at its own address, unless the cluster does: whoever listens there is it.
    async fn serve(&self) {
        let services = self.cluster.api(NAMESPACE, "", "Service");
        let service = services.get(WEBHOOK).await.unwrap();
        let address = service.data["spec"]["clusterIP"].as_str().unwrap();
        let listener = match TcpListener::bind(format!("{address}:443")) {
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => return,
            bound => bound.unwrap(),
        };
        let reviews = self.reviews;
        thread::spawn(move || {
            for client in listener.incoming() {
                // Whoever asks while nobody listens is refused, as by a Service without endpoints.
                let Ok(server) = TcpStream::connect(("127.0.0.1", reviews)) else { continue };
                join(client.unwrap(), server);
            }
        });
    }

    /// Has the API server look at every object of `deploy/`, and change nothing.
    pub(crate) async fn try_every_manifest(&self) {
        let policies =
            ["kubernetes.yaml", "kyverno.yaml", "gatekeeper/templates.yaml", "gatekeeper/constraints.yaml"];
        let mut objects = manifests::base();
        objects.extend(
            ["overlays/cert-manager", "overlays/monitoring"].iter().flat_map(|name| manifests::folder(name)),
        );
        objects.extend(policies.iter().flat_map(|name| manifests::documents(&format!("policies/{name}"))));
        let (mut taken, mut unknown) = (0, std::collections::BTreeSet::new());
        for object in objects {
            let Some(api) = api(&self.cluster.client, &object).await else {
                unknown.insert(object["apiVersion"].as_str().unwrap().to_owned());
                continue;
            };
            let name = object["metadata"]["name"].as_str().unwrap();
            let whole = serde_json::from_value(object.clone()).unwrap();
            let create = PostParams { dry_run: true, ..PostParams::default() };
            let tried = match api.create(&create, &whole).await {
                Err(kube::Error::Api(status)) if status.code == 409 => {
                    let change = PatchParams { dry_run: true, ..PatchParams::default() };
                    api.patch(name, &change, &Patch::Merge(&object)).await
                }
                tried => tried,
            };
            tried.unwrap_or_else(|error| panic!("{} {name}: {error}", object["kind"]));
            taken += 1;
        }
        // What Kubernetes itself has by now, and what others bring.
        let may_be_unknown = [
            "admissionregistration.k8s.io/v1",
            "cert-manager.io/v1",
            "constraints.gatekeeper.sh/v1beta1",
            "monitoring.coreos.com/v1",
            "policies.kyverno.io/v1",
            "policy/v1",
            "templates.gatekeeper.sh/v1",
        ];
        unknown.retain(|version| !may_be_unknown.contains(&version.as_str()));
        assert!(
            taken >= 20 && unknown.is_empty(),
            "{taken} objects, and these it does not know: {unknown:?}"
        );
    }

    /// Takes the webhook away.
    pub(crate) async fn without_webhook(&self) {
        let none = Patch::Merge(json!({"spec": {"replicas": 0}}));
        self.deployments().patch(WEBHOOK, &PatchParams::default(), &none).await.unwrap();
        until("the webhook to be gone", async || {
            TcpStream::connect(("127.0.0.1", self.reviews)).is_err().then_some(())
        })
        .await;
    }

    /// Returns which process leads: `REPLICA_…`.
    pub(crate) async fn leader(&self) -> String {
        let leases = self.cluster.api(NAMESPACE, "coordination.k8s.io", "Lease");
        until("a controller to lead", async || {
            let lease = leases.get(CONTROLLER).await.unwrap();
            lease.data["spec"]["holderIdentity"]
                .as_str()
                .filter(|holder| !holder.is_empty())
                .map(str::to_owned)
        })
        .await
    }

    fn deployments(&self) -> Api<DynamicObject> {
        self.cluster.api(NAMESPACE, "apps", "Deployment")
    }

    pub(crate) async fn end(self) {
        self.delete_what_is_cluster_wide().await;
        self.cluster.delete("", "Namespace", NAMESPACE).await;
    }

    async fn until_gone(&self) {
        until(&format!("nothing to be installed in the namespace {NAMESPACE}"), async || {
            let there = self.cluster.all("", "Namespace").get_opt(NAMESPACE).await.unwrap();
            there.is_none().then_some(())
        })
        .await;
    }

    async fn delete_what_is_cluster_wide(&self) {
        for object in manifests::base() {
            let kind = object["kind"].as_str().unwrap();
            let others_use_it = ["CustomResourceDefinition", "Namespace"].contains(&kind);
            if object["metadata"]["namespace"].is_null() && !others_use_it {
                let group =
                    object["apiVersion"].as_str().unwrap().split_once('/').map_or("", |(group, _)| group);
                self.cluster.delete(group, kind, object["metadata"]["name"].as_str().unwrap()).await;
            }
        }
    }
}

/// Has one pod of a Deployment run on this host: with the image of the tests, its network, and ports that are free.
fn fit(deployment: &mut Value, reviews: u16, flags: &[String]) {
    deployment["spec"]["replicas"] = 1.into();
    let pod = &mut deployment["spec"]["template"]["spec"];
    pod["hostNetwork"] = true.into();
    let container = &mut pod["containers"][0];
    container["image"] = image().into();
    container["imagePullPolicy"] = "Never".into();
    let probes = ports::free();
    for port in container["ports"].as_array_mut().unwrap() {
        port["containerPort"] = if port["name"] == "probes" { probes } else { reviews }.into();
    }
    let arguments = container["args"].as_array_mut().unwrap();
    for flag in flags.iter().cloned().chain([format!("--probes=127.0.0.1:{probes}")]) {
        let name = flag.split_once('=').unwrap().0;
        arguments.retain(|known| known.as_str().unwrap().split('=').next() != Some(name));
        arguments.push(flag.into());
    }
}

/// Returns the way to objects of such a kind, if the server knows it.
async fn api(client: &Client, object: &Value) -> Option<Api<DynamicObject>> {
    let (version, kind) = (object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
    let known = match version.contains('/') {
        true => client.list_api_group_resources(version).await,
        false => client.list_core_api_resources(version).await,
    };
    let known =
        known.ok()?.resources.into_iter().find(|known| known.kind == kind && !known.name.contains('/'))?;
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let resource =
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), &known.name);
    Some(if known.namespaced {
        Api::namespaced_with(client.clone(), object["metadata"]["namespace"].as_str().unwrap(), &resource)
    } else {
        Api::all_with(client.clone(), &resource)
    })
}

/// Passes on what two say to each other, until one of them has said all.
fn join(client: TcpStream, server: TcpStream) {
    for (mut from, mut to) in [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)] {
        thread::spawn(move || {
            // Who breaks off is the other's to deal with.
            io::copy(&mut from, &mut to).ok();
            to.shutdown(std::net::Shutdown::Write).ok();
        });
    }
}
