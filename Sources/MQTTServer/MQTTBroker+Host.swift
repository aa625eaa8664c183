import MQTTCore
import MQTTPackets
import NIOCore

/// What the program can do that the broker is part of. Hooks and access rules are for clients, and not asked here.
extension MQTTBroker {
    // MARK: Publishing

    /// Publishes a message to everybody who subscribes to its topic.
    ///
    /// It returns once what its QoS promises holds: at QoS 0 when the message was given to the connections, at QoS 1 and 2
    /// when it is also committed for every session that is to have it, and the retained message too. Host code may publish
    /// below `$SYS`.
    ///
    /// - Parameters:
    ///   - payload: at most what `packet-bytes` of the limits leaves for it.
    ///   - topic: a topic name without wildcards (section 4.7).
    ///   - qos: what it is published with; a receiver gets it with the QoS of its subscription at most.
    ///   - retain: whether it becomes the topic's retained message; an empty payload clears that.
    ///   - properties: those of PUBLISH in 5.0 (section 3.3.2.3); an alias or a subscription identifier has no place here.
    /// - Throws: where it is not taken. What waited for a commit when the broker was ended may have been committed.
    public func publish(
        _ payload: ByteBuffer,
        to topic: String,
        qos: QoS = .atMostOnce,
        retain: Bool = false,
        properties: Properties = Properties()
    ) async throws(HostError) {
        let publish = try packet(payload, topic, qos, retain: retain, properties)
        let message = message(publish)
        let outcome = try host.turn { core, now in core.publish(message, at: now) }
        try await wait(for: outcome, qos, retain: retain, topic)
    }

    /// The same for text.
    public func publish(
        _ payload: String,
        to topic: String,
        qos: QoS = .atMostOnce,
        retain: Bool = false,
        properties: Properties = Properties()
    ) async throws(HostError) {
        try await publish(ByteBuffer(string: payload), to: topic, qos: qos, retain: retain, properties: properties)
    }

    /// Publishes a message as it came from a subscription, an event or a hook, with its QoS, retain flag and properties.
    public func publish(_ message: Message) async throws(HostError) {
        try await publish(
            message.payload,
            to: message.topic,
            qos: message.qos,
            retain: message.isRetained,
            properties: message.properties
        )
    }

    /// Gives a message to one client, whatever it subscribes to, as if a subscription of its had that QoS.
    ///
    /// A client that is away gets it at QoS 1 or 2 when it comes back; at QoS 0 it is dropped.
    ///
    /// - Throws: `noSession` where the client has neither a connection nor a session.
    public func publish(
        _ payload: ByteBuffer,
        to topic: String,
        qos: QoS = .atMostOnce,
        properties: Properties = Properties(),
        clientID: String
    ) async throws(HostError) {
        let publish = try packet(payload, topic, qos, retain: false, properties)
        let message = message(publish)
        let outcome = try host.turn { core, now in core.publish(message, to: clientID, at: now) }
        guard let outcome else { throw .noSession(clientID: clientID) }
        try await wait(for: outcome, qos, retain: false, topic)
    }

    /// The same for text.
    public func publish(
        _ payload: String,
        to topic: String,
        qos: QoS = .atMostOnce,
        properties: Properties = Properties(),
        clientID: String
    ) async throws(HostError) {
        try await publish(ByteBuffer(string: payload), to: topic, qos: qos, properties: properties, clientID: clientID)
    }

    private func packet(
        _ payload: ByteBuffer,
        _ topic: String,
        _ qos: QoS,
        retain: Bool,
        _ properties: Properties
    ) throws(HostError) -> Publish {
        guard Topics.isValidName(topic) else { throw .invalidTopic(topic) }
        precondition(
            properties.elements.allSatisfy { Self.publishProperties.contains($0.identifier) },
            "a property that has no place in a message of host code"
        )
        return Publish(topic: topic, payload: payload, qos: qos, isRetained: retain, properties: properties)
    }

    private static let publishProperties: Set<PropertyIdentifier> = [
        .payloadFormatIndicator, .messageExpiryInterval, .contentType, .responseTopic, .correlationData, .userProperty,
    ]

    /// Laid out without the lock. What is left of its expiry interval is told to each receiver.
    private func message(_ publish: Publish) -> Message {
        let (expiresAt, seed) = core.withLock { core, now in
            (core.expiry(of: publish, at: now), core.configuration.seed)
        }
        var publish = publish
        publish.properties[integer: .messageExpiryInterval] = nil
        return Message(publish, publisher: nil, expiresAt: expiresAt, seed: seed)
    }

    private func wait(
        for outcome: BrokerCore.HostOutcome,
        _ qos: QoS,
        retain: Bool,
        _ topic: String
    ) async throws(HostError) {
        guard !outcome.reason.isError else { throw HostError(outcome.reason, topic: topic) }
        if qos != .atMostOnce || retain { try await host.wait(for: outcome.ticket) }
    }

    // MARK: Clients

    /// All sessions with their connections, also of clients that are away, each as it was at one moment while this was
    /// called. Subscriptions of host code are not among them.
    public var clients: [ClientStatus] {
        var clients: [ClientStatus] = []
        var page = 0
        while let next = core.withLock({ [page] core, now in core.clients(page: page, at: now) }) {
            clients += next
            page += 1
        }
        return clients
    }

    /// Ends the connection of a client. A 5.0 client is told the reason, and its will is sent.
    ///
    /// - Parameters:
    ///   - clientID: that of CONNECT, or the one that was assigned.
    ///   - reason: one that DISCONNECT of a server may have (section 3.14.2.1).
    ///   - explanation: the reason string; the reason's name unless it is given.
    /// - Returns: whether there was a connection.
    @discardableResult
    public func disconnect(
        _ clientID: String,
        reason: ReasonCode = .administrativeAction,
        explanation: String? = nil
    ) throws(HostError) -> Bool {
        precondition(
            reason.isAllowed(in: .disconnect) && reason != .disconnectWithWill,
            "\(reason) has no place in DISCONNECT"
        )
        return try host.turn { core, now in
            core.disconnect(clientID: clientID, reason, explanation: explanation ?? reason.description, at: now)
        }
    }

    /// Ends the session of a client: its connection, its subscriptions, and all that waits for it. Its will is sent.
    public func endSession(of clientID: String) async throws(HostError) {
        let explanation = ReasonCode.administrativeAction.description
        let outcome = try host.turn { core, now in
            core.endSession(clientID: clientID, explanation: explanation, at: now)
        }
        guard let outcome else { throw .noSession(clientID: clientID) }
        try await host.wait(for: outcome.ticket)
    }

    // MARK: Subscriptions of clients

    /// What a client subscribes to, in the order of the filters.
    public func subscriptions(of clientID: String) throws(HostError) -> [Subscription] {
        guard let subscriptions = core.withLock({ core, _ in core.subscriptions(of: clientID) }) else {
            throw .noSession(clientID: clientID)
        }
        return subscriptions
    }

    /// Subscribes for a client, which is not asked. Returns once that is committed, where the session outlives its
    /// connection.
    public func subscribe(clientID: String, to filter: String, options: SubscriptionOptions) async throws(HostError) {
        let subscription = Subscription(filter: filter, options: options)
        let outcome = try host.turn { core, now in core.subscribe(clientID, subscription, at: now) }
        guard let outcome else { throw .noSession(clientID: clientID) }
        guard !outcome.reason.isError else { throw HostError(outcome.reason, topic: filter) }
        try await host.wait(for: outcome.ticket)
    }

    /// Takes a subscription from a client, which is not told.
    ///
    /// - Returns: whether there was one.
    @discardableResult
    public func unsubscribe(clientID: String, from filter: String) async throws(HostError) -> Bool {
        let outcome = try host.turn { core, now in core.unsubscribe(clientID, filter, at: now) }
        guard let outcome else { throw .noSession(clientID: clientID) }
        guard !outcome.reason.isError else { throw HostError(outcome.reason, topic: filter) }
        try await host.wait(for: outcome.ticket)
        return outcome.reason == .success
    }

    // MARK: Channels

    /// The event loops of the broker, once it listens: channels that are made on them can be given to `accept`. Throws what
    /// `run()` threw if it never came so far, and `notRunning` once it is over.
    public var eventLoops: [any EventLoop] {
        get async throws {
            _ = try await boundAddresses
            guard let running = host.running else { throw HostError.notRunning }
            return running.peers.map(\.eventLoop)
        }
    }

    /// Serves MQTT on a channel whose inbound and outbound data is `ByteBuffer`, from now on, behind the handlers that it
    /// has. It is closed with its connection.
    ///
    /// What the channel reads before is lost: make it with the option `autoRead` off, which is turned on here.
    ///
    /// - Throws: `foreignChannel` where it is not on one of `eventLoops`; what the pipeline throws where the channel has
    ///   closed.
    public func accept(_ channel: any Channel) async throws {
        guard let running = host.running else { throw HostError.notRunning }
        guard running.peers.contains(where: { $0.eventLoop === channel.eventLoop }) else {
            throw HostError.foreignChannel
        }
        try await channel.eventLoop.flatSubmit {
            running.initialize(channel).flatMap { channel.setOption(.autoRead, value: true) }
        }.get()
    }
}
