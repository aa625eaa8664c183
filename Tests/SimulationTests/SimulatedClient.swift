import MQTTPackets
import MQTTSessions
import NIOCore

/// What a client is like, for the whole of a simulation.
struct ClientPlan {
    var connect: Connect
    /// Its session is never lost: what it publishes at QoS 2 arrives exactly once.
    var keepsSession = false
    /// It keeps its session, and its subscriptions were acknowledged before anything was published.
    var isStable = false
    var isSlow = false
    var publishes = false
    var isWild = false
    /// It sends PINGREQ where it would be silent for too long.
    var keepsAlive = true
    var subscriptions: [SimulatedSubscription] = []

    /// The broker may give up its session while it still has its own.
    var mayBeForgotten: Bool { !keepsSession && !connect.cleanStart && connect.sessionExpiryInterval > 0 }
}

/// One message that somebody publishes. Its number is its place in the world's list, and stands in its payload.
struct SimulatedMessage {
    let publisher: Int
    let publish: Publish
    var isAcknowledged = false
    /// Published before the stable clients subscribed.
    let isEarly: Bool

    var qos: QoS { publish.qos }
    var topic: String { publish.topic }
    var isRetained: Bool { publish.isRetained }
    var expires: Bool { publish.properties[integer: .messageExpiryInterval] != nil }
    var isReserved: Bool { topic.hasPrefix("$SYS") }
}

/// A client that follows the specification. Its session is kept over its connections.
final class SimulatedClient {
    struct Sequence: Hashable {
        let publisher: Int
        let topic: String
        let published: QoS
        let delivered: QoS
    }

    let index: Int
    let plan: ClientPlan
    var session: ClientSession
    var link: Link?
    var hasConnected = false
    var owesCleanStart = false
    /// Number of the session's → number of the world's.
    var unacknowledged: [UInt64: Int] = [:]
    /// What the broker said of itself, by topic.
    var systemMessages: [String: [String]] = [:]
    /// Publishes that were answered with an error.
    var refused: [ReasonCode: Int] = [:]
    var requested: [UInt16: [SimulatedSubscription]] = [:]
    /// All that it ever asked for.
    var subscriptions: [SimulatedSubscription] = []
    /// Message → how often it came live; and by a retained replay.
    var deliveries: [Int: Int] = [:]
    var replayed: [Int: Int] = [:]
    var willsReceived: [Int: Int] = [:]
    /// All that came, in order.
    var arrivals: [(number: Int, isRetained: Bool)] = []
    private var lastOf: [Sequence: Int] = [:]

    // What the broker has been seen to do with this client's packets.
    var brokerHolds: Set<UInt16> = []
    /// Filter → subscription, as of the broker.
    var current: [String: SimulatedSubscription] = [:]
    /// Wills that are to go out; those of them that a crash may take back with the connection, of which the client was
    /// not told; and those that a crash may bring back with a connection that the client had left.
    var willsDue = 0
    var willsInDoubt = 0
    var willsBroughtBack = 0
    /// Its connections of the broker's life that ended in order.
    var parted: [Link] = []
    /// The broker has crashed: what was sent before it was committed may come again, and at QoS 0 late.
    var mayHaveRepetitions = false
    var endsWithWill = 0

    init(_ index: Int, _ plan: ClientPlan) {
        self.index = index
        self.plan = plan
        session = ClientSession(connect: plan.connect)
    }

    var name: String { plan.connect.clientID }
    var isUp: Bool { link != nil && session.isConnected }
    var hasSharedSubscription: Bool { subscriptions.contains(where: \.isShared) }

    /// What the specification says that this stable client gets of a message; nil where it gets nothing.
    func expected(_ message: SimulatedMessage) -> (qos: QoS, isRetained: Bool)? {
        let matching = plan.subscriptions.filter {
            $0.matches(message.topic) && !($0.options.noLocal && message.publisher == index)
        }
        guard let qos = matching.map(\.options.qos).max() else { return nil }
        let isRetained = message.isRetained && matching.contains { $0.options.retainAsPublished }
        return (min(qos, message.qos), isRetained)
    }

    func check(_ received: Publish, _ number: Int, _ message: SimulatedMessage, by publisher: SimulatedClient) throws {
        arrivals.append((number, received.isRetained))
        let matching = subscriptions.filter { $0.matches(message.topic) }
        try expect(!matching.isEmpty, "\(name) never subscribed to \(message.topic)")
        let isOwn = message.publisher == index
        try expect(!isOwn || matching.contains { !$0.options.noLocal }, "\(name) gets its own message \(number)")
        let granted = matching.map(\.options.qos).max() ?? .atMostOnce
        try expect(received.qos <= min(granted, message.qos), "\(name) gets message \(number) at \(received.qos)")
        try expect(received.topic == message.topic, "message \(number) comes with topic \(received.topic)")
        try expect(received.payload == message.publish.payload, "the payload of message \(number) is another")
        try expect(!received.isRetained || message.isRetained, "message \(number) comes with the retain flag")
        if plan.connect.version == .v5 { try checkProperties(received, number, message, matching) }
        // A wild client may have subscribed to it anew at any time.
        if received.isRetained && (message.isEarly || plan.isWild) {
            replayed[number, default: 0] += 1
            return
        }
        let count = deliveries[number, default: 0]
        deliveries[number] = count + 1
        if count == 0 {
            try checkOrder(received, number, message, publisher)
        } else {
            try checkRepetition(received, number, message, publisher)
        }
        guard plan.isStable && !message.isEarly else { return }
        guard let expected = expected(message) else {
            throw SimulationFailure("\(name) gets message \(number), which no subscription of it matches")
        }
        try expect(received.qos == expected.qos, "\(name) gets message \(number) at \(received.qos)")
        try expect(received.isRetained == expected.isRetained, "\(name): retain flag of message \(number)")
    }

    private func checkProperties(
        _ received: Publish,
        _ number: Int,
        _ message: SimulatedMessage,
        _ matching: [SimulatedSubscription]
    ) throws {
        let stamped: Set<PropertyIdentifier> = [.topicAlias, .messageExpiryInterval, .subscriptionIdentifier]
        let forwarded = received.properties.elements.filter { !stamped.contains($0.identifier) }
        let original = message.publish.properties.elements.filter { !stamped.contains($0.identifier) }
        try expect(forwarded == original, "the properties of message \(number) are \(forwarded), not \(original)")
        let published = message.publish.properties[integer: .messageExpiryInterval]
        let left = received.properties[integer: .messageExpiryInterval]
        try expect((left == nil) == (published == nil), "the expiry of message \(number) is \(left as UInt32?)")
        try expect(left ?? 0 <= published ?? 0, "the expiry of message \(number) has grown")
        // What was begun is completed, although expired.
        try expect(left != 0 || received.isDuplicate, "message \(number) comes although it has expired")
        let identifiers = received.properties.subscriptionIdentifiers
        try expect(
            identifiers.allSatisfy { identifier in matching.contains { $0.identifier == identifier } },
            "message \(number) comes with subscription identifiers \(identifiers)"
        )
        guard plan.isStable && !message.isEarly else { return }
        let wanted = matching.filter { $0.identifier > 0 && !($0.options.noLocal && message.publisher == index) }
        try expect(
            identifiers.sorted() == wanted.map(\.identifier).sorted(),
            "message \(number) comes with subscription identifiers \(identifiers)"
        )
    }

    private func checkOrder(
        _ received: Publish,
        _ number: Int,
        _ message: SimulatedMessage,
        _ publisher: SimulatedClient
    ) throws {
        guard !message.expires, !message.isEarly, !hasSharedSubscription else { return }
        // At QoS 0 the first copy may be lost, and the one that the publisher sends again is late.
        let isLossy = received.qos == .atMostOnce && message.qos > .atMostOnce
        guard !(isLossy && mayHaveRepetitions) else { return }
        guard !isLossy || (message.qos == .exactlyOnce && publisher.plan.keepsSession) else { return }
        // What a clean publisher sends again after its session was lost can come late, and look new to who has just
        // subscribed.
        guard plan.isStable || (message.qos != .atLeastOnce && publisher.plan.keepsSession && !message.isRetained)
        else {
            return
        }
        let sequence = Sequence(
            publisher: message.publisher,
            topic: message.topic,
            published: message.qos,
            delivered: received.qos
        )
        let last = lastOf[sequence] ?? -1
        try expect(last < number, "\(name) gets message \(number) after \(last)")
        lastOf[sequence] = number
    }

    private func checkRepetition(
        _ received: Publish,
        _ number: Int,
        _ message: SimulatedMessage,
        _ publisher: SimulatedClient
    ) throws {
        guard !hasSharedSubscription, plan.isStable || !message.isRetained else { return }
        switch min(received.qos, message.qos) {
        case .atMostOnce: try expect(message.qos > .atMostOnce, "\(name) gets message \(number) twice at QoS 0")
        case .atLeastOnce:
            let mayRepeat =
                mayHaveRepetitions || received.isDuplicate || message.qos == .atLeastOnce
                || !publisher.plan.keepsSession
            try expect(mayRepeat, "\(name) gets message \(number) twice without DUP")
        case .exactlyOnce:
            try expect(!publisher.plan.keepsSession, "\(name) gets message \(number) twice at QoS 2")
        }
    }
}
