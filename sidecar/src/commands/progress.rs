//! Says how far a long start is.

use std::time::Duration;

use keywheel_core::engine::{DeliveryStatus, StatusHandle};
use tracing::info;

use super::clock;

/// Says now and then which deliveries wait for their first generation, and for which secrets; ends when none does.
pub(super) async fn tell(status: StatusHandle) {
    let clock = clock();
    let mut pause = FIRST;
    loop {
        clock.sleep_until(clock.instant() + pause).await;
        let status = status.status();
        let mut waiting =
            status.deliveries.iter().filter(|delivery| delivery.generation.is_none()).peekable();
        if waiting.peek().is_none() {
            return;
        }
        for delivery in waiting {
            let of = delivery.secrets.len();
            let missing = missing(delivery);
            let there = of - missing.len();
            info!(
                delivery = delivery.name,
                there,
                of,
                missing = shown(&missing),
                "waits for its first generation"
            );
        }
        pause = NEXT;
    }
}

fn missing(delivery: &DeliveryStatus) -> Vec<&str> {
    let missing = delivery.secrets.iter().filter(|secret| secret.version.is_none());
    missing.map(|secret| secret.name.as_str()).collect()
}

fn shown(names: &[&str]) -> String {
    let more = names.len().saturating_sub(SHOWN);
    let named = names[..names.len() - more].join(", ");
    if more == 0 { named } else { format!("{named} and {more} more") }
}

/// After how long a start is a long one, and how often it is told of then.
const FIRST: Duration = Duration::from_secs(3);
const NEXT: Duration = Duration::from_secs(10);
/// How many names are said.
const SHOWN: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_names_are_said_and_the_rest_is_counted() {
        assert_eq!(shown(&["a", "b", "c"]), "a, b, c");
        assert_eq!(shown(&["a", "b", "c", "d", "e"]), "a, b, c and 2 more");
        assert_eq!(shown(&[]), "");
    }
}
