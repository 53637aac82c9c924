//! Whom the sidecar runs as, so that the application can read what it delivers and Pod Security `restricted` holds.

use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::names::NOBODY;

/// A user, and what files are like for the application.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct User {
    pub(super) uid: i64,
    pub(super) gid: i64,
    /// The mode of a file of which nothing is said.
    pub(super) file_mode: &'static str,
}

impl User {
    /// Chooses the user for a sidecar beside `targets`.
    ///
    /// 1. Where the pod has an `fsGroup`, files get that group, and every container is in it.
    /// 2. Where all targets run as one user, who is not root, the sidecar runs as that user, too.
    /// 3. Else nobody knows who the application is: files are for everybody who sees the volume, which is those containers alone.
    pub(super) fn beside(spec: &PodSpec, targets: &[&Container], wished: (Option<i64>, Option<i64>)) -> Self {
        let context = spec.security_context.as_ref();
        let fs_group = context.and_then(|context| context.fs_group);
        let uid = common(targets, |container| {
            container
                .security_context
                .as_ref()
                .and_then(|own| own.run_as_user)
                .or_else(|| context.and_then(|context| context.run_as_user))
        });
        let gid = common(targets, |container| {
            container
                .security_context
                .as_ref()
                .and_then(|own| own.run_as_group)
                .or_else(|| context.and_then(|context| context.run_as_group))
        });
        let own_uid = wished.0.or(uid).unwrap_or(NOBODY);
        let is_shared = fs_group.is_some() || uid == Some(own_uid);
        // Without a group of its own, a process is in root's.
        let gid = wished.1.or(gid.filter(|_| uid == Some(own_uid))).unwrap_or(own_uid);
        Self { uid: own_uid, gid, file_mode: if is_shared { "0440" } else { "0444" } }
    }

    /// Returns whom the program runs as that is the application's parent: the application. The user is that of what prepares for it.
    ///
    /// An application that may begin as root may go on as somebody else: its files are for everybody.
    pub(super) fn of_the_application(spec: &PodSpec, targets: &[&Container]) -> Self {
        let of_pod = spec.security_context.as_ref();
        let is_never_root = targets.iter().all(|target| {
            let own = target.security_context.as_ref();
            let user = own.and_then(|own| own.run_as_user).or_else(|| of_pod.and_then(|pod| pod.run_as_user));
            let non_root = own
                .and_then(|own| own.run_as_non_root)
                .or_else(|| of_pod.and_then(|pod| pod.run_as_non_root));
            user.map_or(non_root == Some(true), |user| user > 0)
        });
        Self { uid: NOBODY, gid: NOBODY, file_mode: if is_never_root { "0440" } else { "0444" } }
    }

    /// Tells whether files for owner and group alone would be out of the application's reach.
    pub(super) fn is_stranger(&self) -> bool {
        self.file_mode == "0444"
    }
}

/// Returns what all containers have, if it is the same and not root's.
fn common(targets: &[&Container], number: impl Fn(&Container) -> Option<i64>) -> Option<i64> {
    let first = number(targets.first()?).filter(|number| *number > 0)?;
    targets.iter().all(|target| number(target) == Some(first)).then_some(first)
}
