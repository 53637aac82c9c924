//! What stands between a caller and a provider.

mod budget;
mod retry;
mod timeout;

pub use self::budget::{Budget, BudgetLimits, Permit};
pub use self::retry::{Retry, RetryPolicy};
pub use self::timeout::Timeout;
