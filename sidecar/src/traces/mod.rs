//! Traces over OTLP, where the environment names a collector.

#[cfg(feature = "otlp")]
mod otlp;

#[cfg(feature = "otlp")]
pub(crate) use self::otlp::{Traces, begin};
#[cfg(not(feature = "otlp"))]
pub(crate) use self::without::{Traces, begin};

#[cfg(not(feature = "otlp"))]
mod without {
    use crate::logging::BoxedLayer;

    /// There are none.
    pub(crate) enum Traces {}

    impl Traces {
        pub(crate) async fn beside<T>(self, _work: impl Future<Output = T>) -> T {
            match self {}
        }
    }

    pub(crate) fn begin() -> Result<Option<(BoxedLayer, Traces)>, String> {
        Ok(None)
    }
}
