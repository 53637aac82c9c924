//! What `deploy/` installs, by Kustomize and by Helm, and what it watches and refuses.

#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

mod base;
mod chart;
mod examples;
mod falco;
mod flags;
mod helm;
mod manifests;
mod overlays;
mod policies;
mod release;
#[path = "../inject/restricted.rs"]
mod restricted;
mod seccomp;
mod types;

mod pods {
    //! What the rules of the standard are read with.
    use serde_json::Value;

    pub(crate) fn containers<'a>(pod: &'a Value, list: &str) -> Vec<&'a Value> {
        pod["spec"][list].as_array().into_iter().flatten().collect()
    }
}
