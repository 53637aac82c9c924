//! Why Keywheel is built as it is: the decisions, each with its reason and its price.

/// # 1. Directories are published by one rename
///
/// **Decision.** A delivery directory has the layout of the kubelet's `AtomicWriter`: generations are folders, `..data` links to the
/// current one, visible names link into `..data`. A change makes a whole new folder and renames one link.
///
/// **Why.** Applications that read mounted Kubernetes Secrets know the layout already. A rename is the only operation on several
/// files that a reader sees whole; files that are replaced one by one can be read as a mix of two versions, and were, by every agent
/// that was measured.
///
/// **Price.** The volume holds two generations for a while. A program that opens `..data/a` and `..data/b` one after the other may still
/// see a swap between the two; it has to resolve `..data` once.
pub mod adr_0001_atomic_generations {}

/// # 2. Every request takes from a budget, and providers do not retry
///
/// **Decision.** A provider gets a token bucket and takes from it before each HTTP request, not before each operation. It classifies
/// its failures and never retries; the keeper of a secret (or, for a single read, the retry layer) decides when to try again.
///
/// **Why.** One operation can be several requests (login, mount lookup, metadata, read), and it is requests that hurt a server. Retries in two
/// layers multiply. With one place that decides, "a permanent error costs at most N requests an hour" is a property that a test can hold.
///
/// **Price.** A provider's author has to remember the budget; the conformance suite cannot see a request that did not take from it.
pub mod adr_0002_budget_per_request {}

/// # 3. The configuration is a tree with places, not a derived struct
///
/// **Decision.** The YAML file is parsed into a tree whose nodes know line and column, and read key by key through
/// [`Section`](crate::config::Section), which collects mistakes.
///
/// **Why.** A derived deserializer stops at the first mistake and forgets places as soon as a type is flattened or tagged. Somebody who mends
/// a configuration wants all mistakes at once, each with its place.
///
/// **Price.** Reading a setting is a line of code rather than a field with an attribute.
pub mod adr_0003_configuration_tree {}

/// # 4. vaultrs says what to ask, Keywheel's transport says how
///
/// **Decision.** Requests to Vault and OpenBao are vaultrs's request types. They are sent by a transport of our own under them, on the same
/// HTTP client.
///
/// **Why.** The transport follows no redirect (a followed one would carry the token to another host), keeps the status, `Retry-After` and the
/// metadata of a deleted version, bounds the answer's size, takes from the budget, and parses into wiped buffers. The client that comes
/// with the crate does none of these.
///
/// **Price.** A few request types that the crate lacks, or that address a path in a form that the transport has to mend, are ours.
pub mod adr_0004_vault_transport {}

/// # 5. A change of one secret asks the others of its delivery
///
/// **Decision.** Every secret has a timer of its own. When one has changed, the others of the same delivery are asked at once, and the new
/// generation waits for them (at most half a second).
///
/// **Why.** Two secrets that were written together (a user name and a password, a certificate and its key) should become visible together. With
/// timers alone they disagree on disk for up to an interval.
///
/// **Price.** A change costs one version check for each other secret of the delivery; deliveries with more than 64 secrets do without.
pub mod adr_0005_settling {}

/// # 6. Randomness comes from the kernel alone
///
/// **Decision.** The TLS library (aws-lc) is built without its second entropy source, the timing jitter of the CPU
/// (`AWS_LC_SYS_NO_JITTER_ENTROPY` in `.cargo/config.toml`).
///
/// **Why.** Collecting it costs 30 to 40 ms of computing at each start, on the way of the first handshake; everything else that `keywheel get` does
/// takes a few milliseconds. The kernel's generator (`getrandom(2)`) is what seeds the library otherwise, and what other TLS stacks rely on.
///
/// **Price.** A build outside of this workspace has to set the variable itself; without it everything works, more slowly.
pub mod adr_0006_randomness {}

/// # 7. A value's keeper tends its lease, and asks what is next of a pure function
///
/// **Decision.** A secret says how it stays fresh ([`Upkeep`](crate::Upkeep)): it is polled, turns by itself, has a lease, or ends. What comes
/// next (ask, look up, renew, replace) and when is [`Standing::next`](crate::schedule::Standing::next), a function of values; the secret's
/// keeper performs it. The provider makes the requests ([`Leases`](crate::provider::Leases)) and owns the login; a lease knows which login it was made with, and sees that
/// login's life. When another login takes its place, every lease of it is made anew, and the old login is given back when its last lease was.
///
/// **Why.** The failures of others in this field are failures of coordination: a poll of one secret that mints another, a renewal that fails and mints in a
/// loop, a new credential that is revoked with the old token. With one owner for each value and one function that decides, each of them is
/// a property that a test holds. Looking leases up costs a request each interval, and finds the ones that somebody revoked.
///
/// **Price.** A lease of a login that is replaced often (a short `token_max_ttl`) is made anew as often.
pub mod adr_0007_leases {}

/// # 8. State is a few records, written before anybody sees what they hold
///
/// **Decision.** What a restart must not lose (tokens, leases, and values that a read would make anew) is kept in records: in memory, for a configuration that is
/// read again, and in a directory where one is configured. A new value is recorded before it is delivered. Records hold the values themselves.
///
/// **Why.** A credential in use that nobody remembers is an orphan; one that is remembered and not in use is harmless. Without its value a lease is worth nothing
/// after a restart: files made by templates cannot be read back. The directory is memory-backed and private for that reason.
///
/// **Price.** The directory is a second place with credentials. A kill while the server makes one can still orphan that one.
pub mod adr_0008_state {}

/// # 9. Polls meet, and a provider may answer all of them with one request
///
/// **Decision.** Secrets of one group ([`Provider::group`](crate::Provider::group)) are asked for at common moments
/// ([`Ticks`](crate::schedule::Ticks)), each by its own call. The provider gathers the calls of one moment; a shared request begins after everybody who
/// shares it has asked.
///
/// **Why.** The trait stays one call per secret, and each secret its own failures and its own pace. A request that began earlier would answer with what was true
/// before the question, and a change could be missed that the asker knows of.
///
/// **Price.** A poll waits a few milliseconds for company. Where the provider turns out not to have such a request, the polls of a folder are spread again.
pub mod adr_0009_polls_meet {}
