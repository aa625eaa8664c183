import DequeModule
import MQTTPackets
import MQTTRouting
import MQTTStore

/// The retained messages that a new subscription is still owed, as a position in the order of topics.
///
/// It yields as the connection takes its output, so that a subscription to `#` over a million topics costs no more at
/// a time than one page.
struct RetainedReplay: Sendable {
    /// The bytes of the filter as the client wrote it.
    let subscription: [UInt8]
    let filter: [[UInt8]]
    let options: SubscriptionOptions
    let identifier: UInt32
    /// Newer messages come by themselves, as live ones.
    let versionMax: UInt64
    /// Everything up to this topic has been sent.
    var key: [UInt8] = []
    /// Tells it from those of the same session that began before or after.
    fileprivate(set) var sequence: UInt64 = 0

    init(
        subscription: [UInt8],
        filter: [UInt8],
        options: SubscriptionOptions,
        identifier: UInt32,
        versionMax: UInt64
    ) {
        self.subscription = subscription
        self.filter = filter.split(separator: Topics.separator, omittingEmptySubsequences: false).map(Array.init)
        self.options = options
        self.identifier = identifier
        self.versionMax = versionMax
    }

    /// Takes up what the store has kept.
    init(_ stored: StoredReplay) {
        self.init(
            subscription: Array(stored.subscription.filter.utf8),
            filter: Array(stored.subscription.filter.utf8),
            options: stored.subscription.options,
            identifier: stored.subscription.identifier,
            versionMax: stored.versionMax
        )
        key = Array(stored.through.utf8)
        sequence = stored.sequence
    }

    /// For the store to keep.
    var stored: StoredReplay {
        StoredReplay(
            subscription: StoredSubscription(
                filter: String(decoding: subscription, as: UTF8.self),
                options: options,
                identifier: identifier
            ),
            versionMax: versionMax,
            through: String(decoding: key, as: UTF8.self),
            sequence: sequence
        )
    }

    var hasWildcards: Bool {
        filter.contains { $0 == [Topics.singleLevel] || $0 == [Topics.multiLevel] }
    }
}

/// All that one session is still owed.
///
///     exact     topic → replay, and the order of topics      one message each, found at once
///     wild      [ replay ▸ key ][ replay ][ replay ] …       the first is under way
///     pulled    topic → sequence of the newest replay that its message was sent early for
///
/// A live message on a topic that is still owed pulls the retained one forward, so that the order of the topic holds.
struct RetainedReplays: Sendable {
    /// Topics that may be pulled forward before the replays with wildcards are given up: their client takes nothing.
    private static let pulledMax = 10_000

    /// Nil where it has ended: its topic still stands in the order, once.
    private var exact: [[UInt8]: RetainedReplay?] = [:]
    private var exactOrder = Deque<[UInt8]>()
    private var wild = Deque<RetainedReplay>()
    /// Subscription → its replay with wildcards; others in the queue are passed over.
    private var current: [[UInt8]: UInt64] = [:]
    private var pulled: [[UInt8]: UInt64] = [:]
    private(set) var lastSequence: UInt64 = 0

    var isEmpty: Bool { exactOrder.isEmpty && wild.isEmpty }
    var wildCount: Int { wild.count }
    var hasPulled: Bool { !pulled.isEmpty }
    /// Of the replays with wildcards.
    var wildSubscriptions: [[UInt8]] { wild.map(\.subscription) }

    /// One that the subscription had before ends.
    mutating func begin(_ begun: RetainedReplay) -> RetainedReplay {
        var replay = begun
        lastSequence += 1
        replay.sequence = lastSequence
        restore(replay)
        return replay
    }

    /// Takes up what the store has kept, in the order of the sequences.
    mutating func restore(_ replay: RetainedReplay) {
        lastSequence = max(lastSequence, replay.sequence)
        if replay.hasWildcards {
            current[replay.subscription] = replay.sequence
            wild.append(replay)
        } else if exact.updateValue(replay, forKey: replay.subscription) == nil {
            exactOrder.append(replay.subscription)
        }
    }

    mutating func restorePulled(_ topic: [UInt8], through sequence: UInt64) { pulled[topic] = sequence }

    /// Whether there was one.
    mutating func end(_ subscription: [UInt8]) -> Bool {
        let wasWild = current.removeValue(forKey: subscription) != nil
        guard exact[subscription] ?? nil != nil else { return wasWild }
        exact.updateValue(nil, forKey: subscription)
        return true
    }

    /// Takes out the next of those without wildcards; `topic` is nil where there is none, `replay` where it has ended.
    mutating func takeExact() -> (topic: [UInt8]?, replay: RetainedReplay?) {
        guard let topic = exactOrder.popFirst() else { return (nil, nil) }
        return (topic, exact.removeValue(forKey: topic) ?? nil)
    }

    /// The one with wildcards that is under way.
    mutating func firstWild() -> RetainedReplay? {
        while let first = wild.first {
            if current[first.subscription] == first.sequence { return first }
            removeFirstWild()
        }
        return nil
    }

    mutating func advanceWild(to key: [UInt8]) { wild[0].key = key }

    mutating func finishWild() {
        if let first = wild.first { current[first.subscription] = nil }
        removeFirstWild()
    }

    private mutating func removeFirstWild() {
        wild.removeFirst()
        if wild.isEmpty { pulled = [:] }
    }

    func wasPulled(_ topic: [UInt8], for replay: RetainedReplay) -> Bool {
        pulled[topic].map { $0 >= replay.sequence } ?? false
    }

    /// The replays that still owe this topic's message, which is sent for them now. Nil where there were too many: then
    /// those with wildcards are given up.
    mutating func pull(_ topic: Span<UInt8>, version: UInt64) -> [RetainedReplay]? {
        let key = topic.toArray()
        var owing: [RetainedReplay] = []
        if let replay = exact[key] ?? nil {
            exact.updateValue(nil, forKey: key)
            if version <= replay.versionMax { owing.append(replay) }
        }
        let pulledFor = pulled[key] ?? 0
        for replay in wild where replay.sequence > pulledFor && version <= replay.versionMax {
            guard current[replay.subscription] == replay.sequence else { continue }
            let isAhead = RetainedMessages.order(topic, replay.key.span) > 0
            guard isAhead, RetainedMessages.matches(topic, replay.filter) else { continue }
            owing.append(replay)
            pulled[key] = lastSequence
        }
        guard pulled.count <= Self.pulledMax else {
            wild = Deque()
            current = [:]
            pulled = [:]
            return nil
        }
        return owing
    }
}
