import MQTTPackets
import MQTTSessions
import NIOCore

/// What has come for one sequence since its last burst was handed over.
struct MessageBurst {
    /// None is missing: see `MessageChunks`.
    var messages: [MQTTMessage?] = []
    var bytes = 0

    @inline(__always)
    mutating func append(_ message: consuming MQTTMessage) {
        bytes += message.bytesHeld
        messages.append(message)
    }
}

/// The event loop's end of one sequence.
final class Sink {
    let buffer: MessageBuffer
    private var burst = MessageBurst()
    /// As many messages as it had in the one before.
    private var expected = 0
    /// It has a burst that was not handed over.
    var isTouched = false
    var isFull = false
    /// The one that it was made for.
    weak var call: SubscribeCall?
    /// Filters that it has.
    var entries: [FilterEntry] = []

    init(_ buffer: MessageBuffer) { self.buffer = buffer }

    /// The call has returned, and the application has it.
    var isHandedOut: Bool { call?.waiter == nil }

    func add(_ message: MQTTMessage) { burst.append(message) }

    /// For who has many messages for it, one after the other: the burst changes hands, and back again.
    func swapBurst(_ other: inout MessageBurst) {
        swap(&burst, &other)
        if other.messages.isEmpty { other.messages.reserveCapacity(expected) }
    }

    /// Hands the burst over, and gives how many messages were in it and how many of them were dropped.
    func handOver(dropsExcess: Bool) -> (messages: Int, dropped: Int, isFull: Bool) {
        isTouched = false
        let count = burst.messages.count
        expected = min(count, 1_024)
        let (dropped, isFull) = buffer.append(&burst.messages, bytes: burst.bytes, dropsExcess: dropsExcess)
        burst.bytes = 0
        return (count, dropped, isFull)
    }
}

/// What one call of `subscribe` waits for.
final class SubscribeCall {
    let filters: [String]
    let sink: Sink
    /// What is asked for, filter by filter.
    private let terms: [FilterEntry.Terms]
    private var codes: [ReasonCode?]
    var waiter: CheckedContinuation<Result<[MQTTError.Grant], MQTTError>, Never>?

    init(
        _ wanted: WantedFilters,
        _ sink: Sink,
        _ waiter: CheckedContinuation<Result<[MQTTError.Grant], MQTTError>, Never>
    ) {
        filters = wanted.filters.map(\.filter)
        terms = wanted.filters.map { FilterEntry.Terms(options: $0.options, properties: wanted.properties) }
        self.sink = sink
        self.waiter = waiter
        codes = Array(repeating: nil, count: filters.count)
        sink.call = self
    }

    func terms(_ filter: String) -> FilterEntry.Terms? { filters.lastIndex(of: filter).map { terms[$0] } }

    func end(_ result: Result<[MQTTError.Grant], MQTTError>) {
        waiter?.resume(returning: result)
        waiter = nil
    }

    /// The server has another answer on another connection, while others have none.
    func changed(_ filter: String, _ code: ReasonCode) {
        for at in filters.indices where filters[at] == filter && codes[at] != nil { codes[at] = code }
    }

    /// All grants, once the last has come.
    func granted(_ filter: String, _ code: ReasonCode) -> [MQTTError.Grant]? {
        for at in filters.indices where filters[at] == filter { codes[at] = code }
        let grants = zip(filters, codes).compactMap { filter, code in
            code.map { MQTTError.Grant(filter: filter, reasonCode: $0) }
        }
        return grants.count == filters.count ? grants : nil
    }
}

/// A SUBSCRIBE.
struct SubscribeRequest {
    let entry: FilterEntry
    /// Those that it answers; none where it was sent since the server has forgotten the filter.
    let calls: [SubscribeCall]
    let terms: FilterEntry.Terms
    /// Whether the server may have had the filter before.
    let wasAtServer: Bool

    init(_ entry: FilterEntry) {
        self.entry = entry
        calls = entry.calls
        terms = entry.terms
        wasAtServer = entry.mayBeAtServer
    }
}

/// One topic filter that this client has, or wants to have, at the server. Several sequences may share it.
final class FilterEntry {
    struct Terms {
        var options: SubscriptionOptions
        var properties: Properties
    }

    enum State {
        /// To be sent with the next opportunity.
        case wanted
        /// SUBSCRIBE was sent.
        case asked
        case granted
    }

    let filter: String
    let bytes: FilterBytes
    let isShared: Bool
    let hasWildcard: Bool
    /// Sent with SUBSCRIBE in 5.0, and comes with each message.
    let identifier: UInt32
    /// What was granted last; before, what was asked for first.
    var grantedTerms: Terms
    var state = State.wanted
    /// Whether the server has it, in this session.
    var isGranted = false
    /// What had been granted was asked for in this session, and refused.
    var isRefused = false
    /// It was asked for in this session, and not refused.
    var mayBeAtServer = false
    /// How many SUBSCRIBEs for it have no answer on this connection.
    var unanswered = 0
    /// It is asked for again, since the session may be another one.
    var isInDoubt = false
    var sinks: [Sink] = []
    var calls: [SubscribeCall] = []

    init(
        _ filter: String,
        _ parsed: ParsedFilter,
        identifier: UInt32,
        _ options: SubscriptionOptions,
        _ properties: Properties
    ) {
        self.filter = filter
        bytes = FilterBytes(parsed)
        isShared = parsed.group != nil
        hasWildcard = parsed.filter.contains { $0 == Topics.singleLevel || $0 == Topics.multiLevel }
        self.identifier = identifier
        grantedTerms = Terms(options: options, properties: properties)
    }

    /// What the next SUBSCRIBE asks for: what the newest call does, or what there was before.
    var terms: Terms { calls.last { $0.waiter != nil }?.terms(filter) ?? grantedTerms }
    /// Whether somebody waits for the answer to a SUBSCRIBE that was not sent.
    var isCalledFor: Bool { calls.contains { $0.waiter != nil } }
}

/// Who gets a message: the filters of this client, and what is remembered of topics.
struct SubscriptionTable {
    /// What is known of a topic that came before: its string and the filters that match it. It holds until anything of
    /// the table changes.
    final class Route {
        let bytes: [UInt8]
        let topic: String
        let entries: [FilterEntry]
        /// The only sequence, where a single filter matches: then identifiers tell nothing new.
        let sole: Sink?

        init(_ topic: Span<UInt8>, _ entries: [FilterEntry]) {
            bytes = topic.toArray()
            self.topic = topic.string(in: topic.indices)
            self.entries = entries
            sole = entries.count == 1 && entries[0].sinks.count == 1 ? entries[0].sinks[0] : nil
        }
    }

    /// A power of two.
    private static let routesKept = 64

    private(set) var entries: [String: FilterEntry] = [:]
    private var routes: [Route?] = []
    /// Of topics by the aliases that the server has given to them on this connection.
    private var aliasRoutes: [Route?] = []
    private var identifiersFree: [UInt32] = []
    private var lastIdentifier: UInt32 = 0

    subscript(filter: String) -> FilterEntry? { entries[filter] }

    /// The entry of the filter, made where there is none.
    mutating func entry(
        _ filter: String,
        _ parsed: ParsedFilter,
        _ options: SubscriptionOptions,
        _ properties: Properties
    ) -> FilterEntry {
        forgetRoutes()
        if let entry = entries[filter] {
            return entry
        }
        let identifier: UInt32
        if let free = identifiersFree.popLast() {
            identifier = free
        } else {
            lastIdentifier += 1
            identifier = lastIdentifier
        }
        let entry = FilterEntry(filter, parsed, identifier: identifier, options, properties)
        entries[filter] = entry
        return entry
    }

    mutating func remove(_ entry: FilterEntry) {
        guard entries[entry.filter] === entry else { return }
        entries[entry.filter] = nil
        identifiersFree.append(entry.identifier)
        forgetRoutes()
    }

    mutating func forgetRoutes() {
        routes = []
        forgetAliases()
    }

    mutating func forgetAliases() { aliasRoutes = [] }

    /// What the alias stood for when it was noted.
    mutating func route(alias: UInt16) -> Route? { alias < aliasRoutes.count ? aliasRoutes[Int(alias)] : nil }

    mutating func note(_ route: Route, alias: UInt16) {
        while alias >= aliasRoutes.count { aliasRoutes.append(nil) }
        aliasRoutes[Int(alias)] = route
    }

    /// Looked up where the topic came lately, else found.
    mutating func route(_ topic: Span<UInt8>) -> Route {
        if routes.isEmpty { routes = Array(repeating: nil, count: Self.routesKept) }
        let slot = Int(truncatingIfNeeded: TopicHash.hash(topic, seed: 0)) & (Self.routesKept - 1)
        if let known = routes[slot], topic.isEqual(to: known.bytes) { return known }
        let route = Route(topic, matches(topic))
        routes[slot] = route
        return route
    }

    private func matches(_ topic: Span<UInt8>) -> [FilterEntry] {
        var found: [FilterEntry] = []
        for entry in entries.values where entry.bytes.matches(topic) { found.append(entry) }
        return found
    }
}
