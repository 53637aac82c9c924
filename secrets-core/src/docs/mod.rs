//! Why Keywheel is built as it is: the decisions, each with its reason and its price. Before them, how a provider is added: [`own_provider`].

#[doc = include_str!("own_provider.md")]
///
/// ```no_run
#[doc = include_str!("../../../examples/examples/own_provider.rs")]
/// ```
pub mod own_provider {}

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
/// What only asks for a version takes what is left ([`Budget::spare`](crate::layer::Budget::spare)), and a request a second where that is nothing: where more is polled
/// than the budget allows, polls come later, and no renewal or first read does.
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

/// # 10. The SDK of AWS writes the requests, and a connector of ours sends them
///
/// **Decision.** Secrets Manager, SSM and STS are asked with the SDK's clients. All of them send through one connector on the HTTP client that is there
/// for Vault; the SDK's retries, time-outs and credential cache are off. The credentials come from a cache of ours, which is filled by the SDK's chain, by STS, or by a
/// pod's agent. Nothing of it is built before the first request.
///
/// **Why.** Signing, endpoints of partitions, profiles and single sign-on are the SDK's, and nobody should write them again. Its HTTP client would be a second pool and a
/// second set of authorities, and its requests would pass the budget by. Its retries would multiply with the keeper's. Its cache asks for credentials when they are
/// about to end, on the way of a request: an STS that is down at that moment fails reads although there were minutes left. Ours renews in the background when three quarters of
/// their life are over.
///
/// **Price.** Errors travel through the SDK as they are and are looked for on the way out. What throttles is told from the error's code by us.
pub mod adr_0010_aws_connector {}

/// # 11. The first generation waits for all secrets, and later ones for none
///
/// **Decision.** A delivery makes its first generation when every one of its secrets has been read. After that, a secret whose source fails takes part
/// with its last good value; readiness tells when that is older than its `max_stale`.
///
/// **Why.** An application that starts with half of its credentials fails in ways that nobody planned for, while one that has not started is waited for by everything around it.
/// Later it is the other way round: a value that was good a minute ago most likely still is, and a rotation elsewhere must not wait for a source that is down.
///
/// **Price.** One secret that is misspelled keeps a whole new delivery from beginning; `keywheel check` and `/status` name it. Secrets of several sources that belong together
/// need one delivery whose template, or whose check, sees to it that they fit.
pub mod adr_0011_first_and_later_generations {}

/// # 12. The supervisor decides as a state machine, and is asked to restart through a channel
///
/// **Decision.** `keywheel run` is a state machine without I/O (what happened, and when, goes in; what to do comes out) and a loop that performs it. A delivery that wants
/// the application restarted ([`Restart`](crate::notify::Restart)) sends a request to the supervisor and waits until the application runs anew.
///
/// **Why.** Supervisors fail in the corners: a signal before the start, two signals, a signal during a restart, a child that left something behind. With one function that
/// decides, "no SIGTERM is swallowed, whatever came before it" is a property that a test holds. The delivery's transaction is over when the application has what was delivered, so
/// that the credential before it can go; and it needs to know nothing of processes.
///
/// **Price.** The kernel does not tell an orphan from a hook of the program's own; a zombie that could be one is left alone for a second before it is reaped.
pub mod adr_0012_supervision {}

/// # 13. A change is a transaction that is written down between its steps
///
/// **Decision.** What a delivery does next is a function of values ([`transaction`](crate::transaction)): which generation the application is known to work with (the base), how far
/// the change is, which versions were rejected. Its loop performs one step, notes what came of it, and writes the whole down, in the state directory where there is one. The record of
/// a change is written before the rename that publishes it, so that a start finds out by looking at `..data` on which side of it the program was killed. The base's folder is held in the
/// directory, and the leases behind it are held and extended, until a newer generation is committed.
///
/// **Why.** Files that were written are not yet a working application. Peers write and hope; the proof, and the way back, need the old files *and* the old credential to be there still, through
/// crashes. A pure machine can be killed at every step in a test, some hundred thousand times.
///
/// **Rejected versions** are not tried again: an application that breaks on a value breaks on it again, and restarting it in a loop is an outage. They are forgotten at an orderly stop, since
/// whoever stops the program may have mended what was wrong, and are kept through a crash, which mends nothing. (Sources without
/// versions give other ones to each process: a salted digest of the files lets the next one know them again.)
///
/// **When the base ends** and everything newer was rejected, the rejected values are tried once more, with no way back: a credential that has ended certainly does not work.
///
/// **Price.** With notifiers or a probe, each change costs a few small writes into memory; a second generation of files stays on the volume until the proof.
pub mod adr_0013_transactions {}

/// # 14. Values live in secret pages, and connections do not outlive their use
///
/// **Decision.** The bytes of every [`SecretValue`](crate::secret::SecretValue) are in pages that the kernel takes out of its own view (memfd_secret(2)), else in pages
/// that are locked and in no core dump, else, with a warning, on the heap. Small values share pages that are cut into slots. Whatever else a value passes through is wiped when
/// it is freed, by the program's allocator; a connection that nobody needs for 300 ms is closed, since TLS and HTTP keep what they read last in buffers that live as long as it does.
///
/// **Why.** "Wiped when dropped" says nothing of the values that are kept, and an agent has to keep the newest ones: a template may need them again. The kernel has memory that
/// no debugger, no dump and no `/proc/PID/mem` reaches, not even root's. Whether a promise about memory is kept can only be seen by looking: a test searches all of the process's memory for what it
/// delivered, whole and in parts, in every form in which it travels.
///
/// **Price.** The mapping and borrowing of pages is the only unsafe code of this crate. Locked memory is limited (`RLIMIT_MEMLOCK`, 8 MiB by default), which is some
/// ten thousand secrets. A source that is asked rarely gets a new connection, and a TLS handshake, each time. One that is asked several times a second is asked to close its
/// connection a little after it carried a value, and once in five seconds while it carries one after the other.
pub mod adr_0014_secret_pages {}

/// # 15. What an agent may do is a value, and whoever runs its hooks is outside
///
/// **Decision.** What a configuration needs of the system is computed from it alone: each provider names its own files and ports
/// ([`Blueprint::needs`](crate::registry::Blueprint::needs)), and all of them together, with the hooks and directories, are what the kernel is asked to allow. The sandbox closes before the
/// program has a second thread. The programs of hooks are listed to a helper process before that, and asked for by their place in the list ([`Runner`](crate::program::Runner)). Each call brings
/// a socket of its own: how it ends comes back through it, and when it closes, the program is killed.
///
/// **Why.** A value can be printed, tested and compared: `check` shows it, and a new configuration is refused where it needs more. A list that is as long as the configuration's hooks leaves a compromised
/// agent nothing to choose. Sockets that close by themselves need no protocol for "the agent was killed".
///
/// **Price.** A folder that is removed and made again is another one to the kernel, and no longer allowed. Landlock knows ports and not hosts. A helper is a second process,
/// where there are hooks.
pub mod adr_0015_sandbox {}

/// # 16. A rotation is a course whose record lies beside the secret
///
/// **Decision.** What a rotation does next is a function of values ([`Course`](crate::rotation::Course)), with the four steps of AWS Secrets Manager. The course, and
/// the values as long as they are needed, are one record in the store that the secret is published in, at a place that follows from the target alone, written by
/// compare-and-set. A [`Strategy`](crate::rotation::Strategy) may be asked for each step any number of times.
///
/// **Why.** A rotator has to survive its own death at any moment, on any machine: a record on its disk would die with it, or be unknown to the other replica. The store that has to be there to
/// publish is there to remember. Compare-and-set makes one of two rotators the first without a lock server; the hold on top (a minute, or until its process is seen to be gone) only keeps a second
/// one from doing the same steps at the same time, which would be harmless but for one that was asleep for a whole rotation.
///
/// **Two accounts.** With one password there is no order of change and publication in which nothing can be refused; with two accounts that take turns there is. The present one is locked only
/// after the overlap, and never while it is what is published, which is looked at before each such step.
///
/// **In place**, there is little patience: what cannot be published within seconds is undone. A run that is killed between the two may have undone what it set without being able
/// to say so, hence whoever goes on sets and tests again.
///
/// **What the source replaces itself** has no value to publish: the strategy has no fields, and says what the source is at instead of a store. That takes the place of the target's
/// revision: a step that is done again sees by it that there is nothing left to do. The record needs a place then that the target cannot give, so that the configuration names one.
///
/// **Price.** A rotation costs a handful of writes at the store. Who may read the record's place sees the next credential before it is published: it needs a policy of its own.
pub mod adr_0016_rotation {}

/// # 17. The program needs nothing of its host, and finds hosts by itself
///
/// **Decision.** What is passed on is linked statically. Names are looked up by a resolver in Rust ([`names`](crate::names)), in the hosts file and at the name servers, read anew for each
/// look-up and not remembered. There is no fallback to somebody else's name servers.
///
/// **Why.** In an image that holds one file there is nothing to break into, and nothing to patch but that file. The C library's resolver loads modules at run time, of exactly its own version, as
/// `nsswitch.conf` says. A cache would save a few milliseconds of a connection, and be stale when a service moves.
///
/// **Price.** Hosts that only another source of `nsswitch.conf` knows (mDNS, LDAP) are not found. Half a megabyte of program.
pub mod adr_0017_static_program {}

/// # 18. What a program watches is kept once, and read into its types by a deserializer of our own
///
/// **Decision.** [`Client::watch`](crate::Client::watch) starts [`Keepers`](crate::keeper::Keepers) of one secret each, which all who watch it share, and which ends
/// with the last of them. Each has a hold on the leases of older values until it confirms a newer one. A secret's fields become the caller's type by a serde
/// deserializer over [`Value`](crate::Value), whose errors cannot quote a value.
///
/// **Why.** A lease, a timer and a reader for each user of a secret are what makes a server slow and a lease lapse; an application has many users of one
/// credential. A value that went through a JSON text would be in two more buffers, and serde's own errors say what they found (`invalid type: string
/// "hunter2"`).
///
/// **Price.** One who never confirms keeps old leases alive as long as their source extends them. A type that explains itself in a custom error is not heard.
pub mod adr_0018_watched_secrets {}

/// # 19. Replicas acknowledge in the source, and can only add time
///
/// **Decision.** An agent that has proved a version writes its name and the version into one document beside the secret, by compare-and-set. The rotator reads it when the overlap is over, and
/// retires the old value once enough names have the version that it published, or at a deadline. It never retires earlier than without.
///
/// **Why.** The source is what both sides reach already, know each other by, and have policies in. A call to the rotator would need a listener that every pod reaches, a token that every pod has, and
/// something that remembers calls over the rotator's restarts; `keywheel rotate`, which runs and ends, could not be called at all. Since an acknowledgement only adds time, whoever forges one gains the
/// behaviour without acknowledgements, and a replay gains nothing.
///
/// **Price.** Agents need a right to write, on one path. Sources whose versions readers do not see as the rotator does (KV version 1, files), or that charge for writes (AWS), are left out. A pod that was
/// replaced after it acknowledged counts beside its successor.
pub mod adr_0019_acknowledgements {}

/// # 20. Annotations become a configuration, which its reader checks before there is a pod
///
/// **Decision.** What a pod says inline is turned into a `keywheel.yaml`, written as JSON, and kept in an annotation of the pod that a projected volume shows to the sidecar. The webhook reads it with
/// the parser of this crate first. Injection is a function of the pod and a few settings of the cluster; a pod that was injected is left alone by what it has, not by what it says. Containers of other webhooks
/// are told by name; Keywheel's stands before all init containers, and after a mesh's proxy that is a native sidecar.
///
/// **Why.** There is one configuration format, and one set of messages about it. A serializer of JSON cannot be talked into a second setting by a value, which templates of YAML can. An annotation needs no second
/// object, and so no right to make one, and none that is left behind; nothing is asked of the network in admission, so that it fails only when the webhook itself does.
///
/// **Price.** All annotations of a pod together may have 256 KiB. The webhook has to be of a version that knows what the sidecar's does: both have one version.
pub mod adr_0020_injection {}

/// # 21. Every replica of the webhook has an authority of its own
///
/// **Decision.** A replica makes an authority and one certificate of it in memory, forgets the authority's key, and adds the authority to the bundle of the webhook's configuration by
/// compare-and-set; it is ready once it is there. At two thirds of the certificate's life the next pair is made, made known, and only then shown. Whoever writes the bundle leaves out authorities of Keywheel's that have
/// ended, and those that the same replica had before it was started again; what somebody else put there stays.
///
/// **Why.** The usual way is one key in a Secret that all replicas share, with a lease that says who renews it: rights on Secrets, a key in etcd, and a moment at which half of them show what nobody trusts. A bundle holds
/// several authorities, so that replicas need not agree on anything. A key that is nowhere cannot be stolen, and a certificate that lives for two days need not be revoked.
///
/// **Price.** The right to patch the configuration; without it, certificates come by files. The bundle has up to two entries for each replica of the last two days, and never more than 32.
pub mod adr_0021_webhook_authorities {}

/// # 23. A schedule of the cluster is kept by one leader, as an account of its own namespace
///
/// **Decision.** Replicas of the controller take turns by one Lease, written by compare-and-set. A replica counts from when it saw the Lease change last (15 s), the holder from before it
/// asked for the last renewal that was answered (10 s): their clocks need not agree, and a holder stops, by dropping its work, before another one can begin. What is known of a rotation is in
/// the store beside the secret (ADR 16 and later), and nothing of it in the cluster: a leader that is killed at any step leaves what the next one goes on with. The Lease keeps two from
/// working at once; what keeps them from harm if they do is the record's check-and-set and its hold.
///
/// A schedule names a service account of its own namespace. At each login the controller has the cluster issue a token of that account (TokenRequest): for ten minutes, and for an audience
/// that the controller's flag says, and the schedule cannot. It may do so where the namespace has bound it to a Role that names the account; no right to tokens is cluster-wide. Between two
/// looks the login is given back.
///
/// A schedule is read by the parser of the file, from a text that has been made of it, with kinds and strategies that touch nothing of the controller's: no files, variables, programs or
/// credentials of its own.
///
/// **Why.** A controller that may ask for the tokens of every account is every account. An audience that a schedule could choose might be the cluster's own, and the token would go to a server
/// that the schedule chose as well. State in the cluster would be a second truth about a credential.
///
/// **Price.** A leader that is killed is waited for (up to 17 s), and the step that it was at for up to a minute more, unless its process can be seen to be gone. A process that stood still
/// and wakes up may end the request that it was in before it sees that it does not lead. A namespace has to opt in by a Role and a RoleBinding. Schedules ask Vault and OpenBao alone:
/// identities of AWS are the controller's own, or need an annotation on its account.
pub mod adr_0023_schedules_of_a_cluster {}

/// # 24. Manifests of External Secrets become the tree of a configuration
///
/// **Decision.** Documents with an `apiVersion` are translated, before anything is read, into the tree that a `keywheel.yaml` is parsed to, each part with its place in the manifest; from there on there is one
/// reader, one set of checks and one program. A manifest is translated wholly or refused, also its Go templates, of which the usual few functions are known. Passed over is only what has a meaning for objects of the cluster alone.
/// What lies in a Secret is a file that an annotation of the store names, and the login is the pod's own. A document without `apiVersion` may stand beside the manifests, for what they cannot say.
///
/// **Why.** A team that moves has its manifests, and tools that make them. What is translated in silence and nearly right is worse than a line that says what to change. No Secret is read, since that right is what is to be got rid of.
///
/// **Price.** The operator's fields grow, and each new one is refused until somebody looks at it. Generators, `find`, `rewrite` and programs in templates are left to Keywheel's own form.
pub mod adr_0024_external_secrets {}

/// # 25. The local API gives what is kept, one request to a connection
///
/// **Decision.** Programs that ask are given the newest good value that a keeper has, apart from the files: it waits for no window, and is not held back by a proof. A connection answers one request and is closed.
/// Over a Unix socket the kernel says who asks; over loopback a token does. What a request gets is decided by one pure function of its head, its sender and the configured names. After a new configuration the last
/// values of the engine before serve until the next one has its own.
///
/// **Why.** A program that asks takes one value at a time and can ask again; windows, proofs and roll-backs are about an application that has to be told, and whose old lease goes back once it was. A connection that
/// is kept has the last value in its buffers until the next request overwrites it; one that is closed is freed, and the allocator wipes it. Asking the source for each request would let any client use up the budget,
/// or have leases made.
///
/// **Price.** A program that reads both the files and the API may see two versions during a change. A request costs a connection. Whoever may ask gets every secret of the agent's deliveries: there is no policy
/// within.
pub mod adr_0025_local_api {}

/// # 26. A secret that rests is a value in a queue
///
/// **Decision.** [`Keepers`](crate::keeper::Keepers) have one loop and one timer for all secrets of an engine: a queue by when each needs something. A step under way is a task, which has the
/// secret's keeper meanwhile and gives it back. Whoever asks, confirms or hints rings with the secret's number. First reads take turns at each provider, a
/// hundred at a time, in a task for each turn.
///
/// **Why.** A task for each secret, with its timers and channels, took 4 kB while nothing happened, of the 11 kB that one more secret took. What is kept of a first
/// read comes to lie in the room of tasks that have ended, which can then be used by no other task, nor be given back: a task for each first read cost a thousand secrets 0.8 MB.
///
/// **Price.** The loop has to look again at what a task would wait for by itself; the pure decision ([`Standing`](crate::schedule::Standing)) says all of it, so that a look is cheap. A panic in a step ends all
/// of an engine's keepers, which it did before by ending the engine.
pub mod adr_0026_a_queue_of_secrets {}

/// # 27. The core is small without its features, and adapters are features of the providers' package
///
/// **Decision.** `keywheel-core` has no default feature, and without one it compiles in fewer than 60 crates, which `cargo xtask deps` holds it to. What needs a tree of crates of its own is a
/// feature: `yaml` (configurations), `cron`, `http`, `certificates`. Without one, what asks for it is refused by name when it is read, so that no type and no function comes or goes with a
/// feature. What hands a secret to another library is in `keywheel_providers::adapters`, a feature each, and none of them is on by default.
///
/// **Why.** A program that watches one password should not compile a YAML parser and three derive macros. Two files are swapped where a feature is absent, rather than attributes all over the
/// callers. Adapters need the crates that providers and strategies have already (tokio-postgres, rustls, the SDK's credentials); a package of their own would be one more name to know, for
/// a hundred lines each.
///
/// **Price.** That a feature is missing shows when a program runs, not when it is compiled. Four packages have many sets of features; `cargo xtask features` checks each feature alone, which
/// takes an hour, and is no part of every build.
pub mod adr_0027_small_core_and_adapters {}

/// # 28. The schema has types of its own, and a test asks the reader
///
/// **Decision.** The configuration is read by hand, key by key, from a tree that knows its places (ADR 3). Its JSON Schema is generated from types that have the file's shape and are never made; each kind of
/// provider and of strategy has its own beside its factory, and `keywheel schema` puts together those that the program was built with. At every mapping of the schema a test puts a key that nobody knows into a
/// configuration, and compares the keys that the reader names in its answer with those of the schema, both ways. Defaults are the reader's own constants. Schemars is behind the feature `schema`, which the library
/// does not have by default. The draft is 07, and nothing fills in defaults.
///
/// **Why.** A reader made of derived types has one message for a mistake, and stops at the first; this one says all of them, in words that say what is right. The types that a configuration becomes (a cron pattern,
/// a template, a blueprint) have not the shape of the file, and a schema of them would be a second reader in attributes. What has to be the same in two places is held together by a test rather than by a discipline.
///
/// **Price.** A new key is written twice, and the test says so. What goes together is in the schema only where it is plain (one of several keys); the rest is `keywheel check`'s to say.
pub mod adr_0028_schema {}

/// # 29. The sidecar's heap has pages of one size
///
/// **Decision.** The program's allocator, under the one that wipes what is freed, keeps things of up to 2 KiB itself: pages of 4 KiB, each cut into slots of one size, a multiple of 16 bytes. Which slots are
/// taken is in bit maps apart from the pages. The first free slot of a page with room is taken; a page that nothing is on any more is given back to the kernel when the agent rests. Everything larger, and what C
/// libraries allocate, is the system's. What is given back as a slot that is not taken, or of another size, ends the program. The library leaves the choice to its program.
///
/// **Why.** A start makes and frees many small things for each secret and keeps a dozen. In a heap for all sizes those lie between what was freed, on pages that are never empty again: of the
/// memory of a thousand secrets a third was such holes, and it came and went with the order in which answers came. In pages of one size the next of its size goes into the hole; they are 93 to 97 % full after a start.
/// Crates for this want their memory ahead, keep pages for each thread, or are C libraries.
///
/// **Price.** Two hundred lines with `unsafe`, and one lock for all threads, of which only those that write files are more than one. Where the kernel's pages are larger than 4 KiB none of these is given back. Slots are used
/// again at once, in a known order: it is no defence against a use after free, which safe Rust is.
pub mod adr_0029_pages_of_one_size {}

/// # 30. What an agent at rest calls lies side by side
///
/// **Decision.** `cargo xtask dist` links the programs with their functions in the order of `sidecar/order.txt`: first those that an agent at rest calls, then those of its start, then those of a change and of the end; the
/// rest as the linker has it. `cargo xtask order` makes the list by having valgrind count what an agent calls that delivers two folders of 120 secrets, the versions of one of which may be listed, and an account of a database. A function is known by 32 bits of the digest of its
/// name, without what another compiler or another version of its crate changes in it; xtask stands in for `cc` while the program is linked, and finds the names.
///
/// **Why.** The kernel maps sixteen pages around each that is touched. What an agent at rest calls is less than a megabyte among ten, and lay on two thirds of them: 6 MB were resident of the program, of 8 in all.
/// In this order it is 1.6 MB. A profile for the compiler (PGO) can do the same, and needs its very version of LLVM's tools wherever the program is built.
///
/// **Price.** A list that nobody reads, and that has to be made again now and then: a function that is not in it is where it was before, and only memory shows that. A linker other than LLD, which is the compiler's own on x86-64, leaves it out.
pub mod adr_0030_order_of_functions {}
