import MQTTCore
import MQTTPackets
import MQTTSessions
import MQTTStore
import MQTTStoreTesting
import NIOCore

/// The whole core with simulated clients, links, loops, committer and clock. All that happens follows from the seed.
final class World {
    struct Loop {
        var isWoken = false
        var isToFeed = false
    }

    var core: BrokerCore
    let configuration: CoreConfiguration
    var random: SeededGenerator
    var now: Int64 = 1_000
    var clients: [SimulatedClient] = []
    var links: [Link] = []
    var linkCount = 0
    var loops: [Loop]
    var pending: [OutputEntry] = []
    var isPerforming = false
    var store = StoreModel()
    /// Pages that were read and have not arrived.
    var reading: [Reading] = []
    /// What the store has committed, and the changes since.
    var kept = StoreContents()
    var changes: [(change: StoreChange, ticket: UInt64)] = []
    /// The store, where it is more than a model.
    var journal: SimulatedJournal?
    var crashes = 0
    /// Whether changes are handed to the store when it asks, so that some become unnecessary before.
    var takesLate = false
    var messages: [SimulatedMessage] = []
    /// Topic → payload, in the order in which the broker handled them.
    var retained: [String: String] = [:]
    var isEarly = true
    /// Sessions are given up.
    var isEnding = false
    /// One packet a turn, so that each answer's ticket is known to the harness.
    let isStrict: Bool
    /// Whether somebody observes the broker, and what was seen since it began.
    let isObserved: Bool
    var observer: Observer?
    /// Tells what happened, where somebody reads it.
    var log: [String]?

    init(_ configuration: CoreConfiguration, seed: UInt64, isLogging: Bool = false) {
        var configuration = configuration
        configuration.limits = configuration.limits.resolved(memoryBytes: 1 << 30)
        self.configuration = configuration
        core = BrokerCore(configuration: configuration)
        var random = SeededGenerator(seed: seed)
        loops = Array(repeating: Loop(), count: configuration.loops)
        isStrict = configuration.isDurable && !random.oneIn(3)
        self.random = random
        isObserved = seed % 2 == 0
        log = isLogging ? [] : nil
        beginObserving()
    }

    func note(_ event: @autoclosure () -> String) {
        if log != nil { log?.append("\(now) \(event())") }
    }

    func add(_ plan: ClientPlan) -> SimulatedClient {
        let client = SimulatedClient(clients.count, plan)
        clients.append(client)
        return client
    }

    func client(named name: String) -> SimulatedClient? { clients.first { $0.name == name } }

    // MARK: Connecting

    func connect(_ client: SimulatedClient, cleanStart: Bool? = nil) throws {
        leave(client)
        linkCount += 1
        let address = "#\(linkCount)"
        let loop = random.below(configuration.loops)
        note("\(client.name) connects as \(address) on loop \(loop)")
        let (opened, after) = turn(loop) { [now] core in core.open(loop: loop, address: address, at: now) }
        guard let id = opened else { throw SimulationFailure("there is no room for \(address)") }
        let link = Link(
            id,
            loop: loop,
            client: client,
            address: address,
            highWater: 64 << random.below(8),
            at: now
        )
        link.isSlow = client.plan.isSlow
        links.append(link)
        try perform(after)
        client.link = link
        client.requested = [:]
        // Who has forgotten its session goes on asking for a new one until it has been told that it has one.
        if cleanStart == true { client.owesCleanStart = true }
        client.session.connectionBegan(cleanStart: cleanStart ?? (client.owesCleanStart ? true : nil))
        flush(client)
    }

    /// The client lets go of its connection, and does not look at it any more.
    func leave(_ client: SimulatedClient) {
        guard let link = client.link else { return }
        link.hasLeft = true
        client.link = nil
    }

    func flush(_ client: SimulatedClient) {
        guard client.session.output.readableBytes > 0 else { return }
        client.link?.writeFromClient(client.session.output, at: now)
        client.session.output = ByteBuffer()
    }

    // MARK: Publishing

    /// At QoS 0 nothing is kept: the client has to be connected.
    func publish(_ publish: Publish, by client: SimulatedClient) {
        let number = messages.count
        var publish = publish
        if publish.payload.readableBytes > 0 { publish.payload = payload(number, padding: publish.payload) }
        messages.append(SimulatedMessage(publisher: client.index, publish: publish, isEarly: isEarly))
        note("\(client.name) publishes \(number) to \(publish.topic), \(publish.qos), retain \(publish.isRetained)")
        if publish.qos == .atMostOnce { useAlias(&publish, client) }
        if let own = client.session.publish(publish) { client.unacknowledged[own] = number }
        flush(client)
    }

    private func payload(_ number: Int, padding: ByteBuffer) -> ByteBuffer {
        var payload = ByteBuffer(string: "\(number):")
        payload.writeImmutableBuffer(padding)
        return payload
    }

    private func useAlias(_ publish: inout Publish, _ client: SimulatedClient) {
        guard client.plan.connect.version == .v5, let link = client.link, random.oneIn(2) else { return }
        if let alias = link.aliases[publish.topic] {
            publish.properties[integer: .topicAlias] = alias
            publish.topic = ""
        } else if link.aliases.count < Int(configuration.limits.topicAliasMaximum) {
            let alias = UInt32(link.aliases.count + 1)
            link.aliases[publish.topic] = alias
            publish.properties[integer: .topicAlias] = alias
        }
    }

    func subscribe(_ client: SimulatedClient, _ wanted: [SimulatedSubscription]) {
        var properties = Properties()
        if let identifier = wanted.first?.identifier, identifier > 0 {
            properties[integer: .subscriptionIdentifier] = identifier
        }
        note("\(client.name) subscribes to \(wanted.map(\.filter)), options \(wanted.map(\.options.byte))")
        let id = client.session.subscribe(wanted.map { .init($0.filter, $0.options) }, properties: properties)
        guard let id else { preconditionFailure("more requests than identifiers") }
        client.requested[id] = wanted
        client.subscriptions += wanted
        flush(client)
    }

    // MARK: What clients are told

    func received(_ event: ClientSession.Event, by client: SimulatedClient) throws {
        switch event {
        case .connected(let connack): try connected(connack, client)
        case .message(let publish): try delivered(publish, to: client)
        case .published(let number, let reason): try acknowledged(number, reason, client)
        case .subscribed(let suback):
            guard let wanted = client.requested.removeValue(forKey: suback.packetID) else {
                throw SimulationFailure("SUBACK \(suback.packetID) to \(client.name) out of nowhere")
            }
            let granted = wanted.map { ReasonCode(rawValue: $0.options.qos.rawValue) }
            try expect(suback.reasonCodes == granted, "\(client.name) is granted \(suback.reasonCodes)")
        case .disconnected(let disconnect):
            let orderly: [ReasonCode] = [.sessionTakenOver, .keepAliveTimeout, .quotaExceeded]
            try expect(
                orderly.contains(disconnect.reasonCode),
                "\(client.name) is told \(disconnect.reasonCode) \(disconnect.properties)"
            )
            leave(client)
        case .unsubscribed, .pong, .authentication: break
        }
    }

    private func connected(_ connack: Connack, _ client: SimulatedClient) throws {
        try expect(connack.reasonCode == .success, "\(client.name) is refused: \(connack.reasonCode)")
        if !isEnding && client.plan.keepsSession && client.plan.connect.version > .v3_1 {
            try expect(connack.sessionPresent || !client.hasConnected, "the session of \(client.name) is lost")
        }
        client.hasConnected = true
        client.owesCleanStart = false
        note("\(client.name) is connected, session present \(connack.sessionPresent)")
        // What the session let go of without a word, since the broker has forgotten it.
        let outbound = client.session.outbound
        for (number, message) in client.unacknowledged
        where !outbound.isUnfinished(number) {
            try expect(isEnding || !client.plan.keepsSession, "\(client.name) forgets message \(message)")
            messages[message].isAcknowledged = true
            client.unacknowledged[number] = nil
        }
    }

    private func acknowledged(_ number: UInt64, _ reason: ReasonCode, _ client: SimulatedClient) throws {
        guard let message = client.unacknowledged.removeValue(forKey: number) else {
            throw SimulationFailure("an acknowledgement to \(client.name) for number \(number) out of nowhere")
        }
        note("\(client.name) has message \(message) acknowledged: \(reason)")
        messages[message].isAcknowledged = true
        if reason.isError { client.refused[reason, default: 0] += 1 }
        let mayBeFull = configuration.limits.queuedMessagesMax < 1_000 && reason == .quotaExceeded
        try expect(
            !reason.isError || messages[message].isReserved || mayBeFull,
            "message \(message) is refused: \(reason)"
        )
    }

    private func delivered(_ publish: Publish, to client: SimulatedClient) throws {
        // What the broker says of itself.
        if publish.topic.hasPrefix("$SYS") {
            client.systemMessages[publish.topic, default: []].append(String(buffer: publish.payload))
            return
        }
        let text = String(buffer: publish.payload)
        if text.hasPrefix("will of ") {
            guard let of = self.client(named: String(text.dropFirst(8))) else {
                throw SimulationFailure("the will of a stranger: \(text)")
            }
            note("\(client.name) gets the \(text), \(publish.qos)")
            client.willsReceived[of.index, default: 0] += 1
            return
        }
        guard !text.isEmpty else { return }
        guard let number = text.split(separator: ":").first.flatMap({ Int($0) }), number < messages.count else {
            throw SimulationFailure("\(client.name) gets a message that nobody published: \(text)")
        }
        note("\(client.name) gets message \(number), \(publish.qos), retain \(publish.isRetained)")
        let message = messages[number]
        try expect(!message.isReserved, "message \(number) to a reserved topic is delivered")
        try client.check(publish, number, message, by: clients[message.publisher])
    }
}
