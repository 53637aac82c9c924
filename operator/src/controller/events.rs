//! Events of a schedule, where `kubectl describe` shows them. They are made, and never read or changed.

use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client, Resource as _};
use tracing::warn;

use super::lease::micros;
use super::resource::RotationSchedule;
use super::status::Note;

/// Makes an Event of each note; one that cannot be made is in the log.
pub(super) async fn publish(
    client: &Client,
    schedule: &RotationSchedule,
    notes: &[Note],
    replica: &str,
    now: Timestamp,
) {
    let namespace = schedule.metadata.namespace.clone().unwrap_or_default();
    let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
    for note in notes {
        if let Err(error) = api.create(&PostParams::default(), &event(schedule, note, replica, now)).await {
            let code = match &error {
                kube::Error::Api(status) => status.code,
                _ => 0,
            };
            warn!(
                schedule = schedule.metadata.name,
                namespace,
                reason = note.reason,
                code,
                "an Event was not made"
            );
        }
    }
}

fn event(schedule: &RotationSchedule, note: &Note, replica: &str, now: Timestamp) -> Event {
    let name = schedule.metadata.name.clone().unwrap_or_default();
    Event {
        action: Some("Rotate".to_owned()),
        event_time: micros(now),
        metadata: ObjectMeta {
            generate_name: Some(format!("{name}-")),
            namespace: schedule.metadata.namespace.clone(),
            ..ObjectMeta::default()
        },
        note: Some(note.message.clone()),
        reason: Some(note.reason.clone()),
        regarding: Some(schedule.object_ref(&())),
        reporting_controller: Some("keywheel.dev/controller".to_owned()),
        // At most 128 characters.
        reporting_instance: Some(replica.chars().take(128).collect()),
        type_: Some(if note.is_warning { "Warning" } else { "Normal" }.to_owned()),
        ..Event::default()
    }
}
