import MQTTPackets
import MQTTStore
import NIOCore

/// Random batches of changes such as a broker makes, the same from the same seed, and now and then late ones such as it
/// should not make, which a store has to ignore.
package struct ChangeGenerator {
    /// What a store holds that committed all batches so far.
    package private(set) var contents = StoreContents()
    /// Most payloads are small; one in fifty may have as many bytes.
    package var payloadBytesMax = 10_000
    /// The most changes of a batch.
    package var changesMax = 24
    /// Sessions begin and end about so that there are as many.
    package var sessions = 8

    var random: SplitMix64
    private var incarnation: UInt64 = 0
    private var version: UInt64 = 0
    private var time: Int64 = 1_000
    private var sequence: UInt64 = 0
    private var ended: [UInt64] = []
    private var changes: [StoreChange] = []

    static let names = [
        "a", "a/b", "a/b/c", "sport/tennis", "$SYS/x", "é", "e\u{301}", "🐝/Ω", "/", "sensor/17/temperature",
    ]

    package init(seed: UInt64) { random = SplitMix64(seed: seed) }

    /// Goes on from what a store holds after a crash.
    package mutating func resume(from contents: StoreContents) { self.contents = contents }

    package mutating func batch() -> [StoreChange] {
        time += Int64(random.below(1_000))
        changes = []
        let count = random.below(changesMax + 1)
        while changes.count < count { addChange() }
        let broker = StoredBroker(
            time: time,
            wallClock: 1_700_000_000_000 + time,
            lastIncarnation: incarnation,
            lastRetainedVersion: version
        )
        contents.apply(.broker(broker))
        return [.broker(broker)] + changes
    }

    private mutating func append(_ change: StoreChange) {
        contents.apply(change)
        changes.append(change)
    }

    private mutating func addChange() {
        guard contents.sessions.count > random.below(sessions), !random.oneIn(30) else { return beginSession() }
        let incarnations = contents.sessions.keys.sorted()
        let isLate = random.oneIn(40) && !ended.isEmpty
        let session = isLate ? random.pick(ended) : random.pick(incarnations)
        switch random.below(20) {
        case 0..<5: queue(for: incarnations, session)
        case 5..<9: finish(session)
        case 9, 10: receive(session)
        case 11, 12: changeSubscription(session)
        case 13: changePacketID(session)
        case 14, 15: changeRetained()
        case 16: changeReplay(session)
        case 17, 18: changeConnection(session)
        default:
            guard random.oneIn(3) else { return }
            ended.append(session)
            append(.sessionEnded(incarnation: session))
        }
    }

    private mutating func beginSession() {
        incarnation += UInt64(1 + random.below(3))
        append(
            .sessionBegan(
                incarnation: incarnation,
                clientID: "\(random.pick(Self.names)) \(incarnation)",
                expiryInterval: random.pick([0, 1, 3_600, .max])
            )
        )
    }

    private mutating func queue(for incarnations: [UInt64], _ first: UInt64) {
        let message = message()
        let others = incarnations.filter { _ in random.oneIn(2) }
        for receiver in [first] + (random.oneIn(2) ? others : []) {
            let next = contents.sessions[receiver]?.nextNumber ?? 7
            let queued = StoredMessage(
                number: next + UInt64(random.oneIn(5) ? random.below(70_000) : 0),
                message: message,
                qos: random.oneIn(2) ? .exactlyOnce : .atLeastOnce,
                isRetained: random.oneIn(4),
                identifiers: random.oneIn(3)
                    ? (0...random.below(3)).map { _ in UInt32(1 + random.below(268_435_455)) } : [],
                sharedFilter: random.oneIn(5) ? "$share/group/" + random.pick(Self.names) : ""
            )
            append(.queued(queued, incarnation: receiver))
        }
    }

    private mutating func finish(_ session: UInt64) {
        let numbers = contents.messages(of: session).map(\.number)
        guard !numbers.isEmpty else { return append(.finished(incarnation: session, number: 3)) }
        // Mostly the oldest, as acknowledgements come.
        let at = random.oneIn(3) ? random.below(numbers.count) : 0
        append(.finished(incarnation: session, number: numbers[at]))
    }

    private mutating func receive(_ session: UInt64) {
        guard let of = contents.sessions[session], let end = of.messages.keys.max() else { return }
        if random.oneIn(3) { return append(.sendMark(incarnation: session, end: max(of.sendMark, end + 1))) }
        let exact = of.messages.values.filter { $0.qos == .exactlyOnce }.map(\.number).sorted()
        guard !exact.isEmpty else { return }
        append(.received(incarnation: session, number: random.pick(exact)))
    }

    private mutating func changeSubscription(_ session: UInt64) {
        let subscription = subscription()
        append(
            random.oneIn(3)
                ? .unsubscribed(incarnation: session, filter: subscription.filter)
                : .subscribed(subscription, incarnation: session)
        )
    }

    private mutating func changePacketID(_ session: UInt64) {
        let packetID = random.pick([1, 2, 3, 4, 65_535] as [UInt16])
        switch random.below(7) {
        case 0: append(.retired(incarnation: session, packetID: packetID))
        case 1, 2: append(.packetReleased(incarnation: session, packetID: packetID))
        default: append(.packetReceived(incarnation: session, packetID: packetID))
        }
    }

    private mutating func changeRetained() {
        let message = message()
        guard !random.oneIn(4) else { return append(.retainedCleared(topic: message.topic)) }
        version += 1
        append(.retained(StoredRetained(message, version: version)))
    }

    private mutating func changeReplay(_ session: UInt64) {
        sequence += 1
        let subscription = subscription()
        switch random.below(5) {
        case 0: append(.replayEnded(incarnation: session, filter: subscription.filter))
        case 1, 2:
            // `StoredSession.pulledTopics` cannot tell equivalent names apart.
            let topic = random.pick(["", "a", "a/b", "sport/tennis", "🐝/Ω"])
            append(.replayPulled(incarnation: session, topic: topic, sequence: sequence))
        default:
            let replay = StoredReplay(
                subscription: subscription,
                versionMax: version,
                through: random.oneIn(2) ? "" : random.pick(Self.names),
                sequence: sequence
            )
            append(.replay(replay, incarnation: session))
        }
    }

    private mutating func changeConnection(_ session: UInt64) {
        switch random.below(5) {
        case 0: append(.sessionExpiryChanged(incarnation: session, expiryInterval: random.pick([0, 5, .max])))
        case 1: append(.sessionConnected(incarnation: session))
        case 2: append(.sessionDisconnected(incarnation: session, at: time))
        case 3: append(.will(nil, incarnation: session))
        default:
            var properties = Properties()
            if random.oneIn(2) {
                properties[integer: .willDelayInterval] = UInt32(random.below(100))
                properties.appendUserProperty("é", random.pick(Self.names))
            }
            let will = Will(
                topic: random.pick(Self.names),
                payload: payload(),
                qos: random.pick(QoS.allCases),
                isRetained: random.oneIn(2),
                properties: properties
            )
            append(.will(will, incarnation: session))
        }
    }

    private mutating func subscription() -> StoredSubscription {
        StoredSubscription(
            filter: random.pick(["", "$share/g/"]) + random.pick(Self.names) + random.pick(["", "/#", "/+"]),
            options: SubscriptionOptions(
                qos: random.pick(QoS.allCases),
                noLocal: random.oneIn(2),
                retainAsPublished: random.oneIn(2),
                retainHandling: random.pick([.always, .ifNew, .never])
            ),
            identifier: UInt32(random.oneIn(2) ? 0 : random.below(268_435_456))
        )
    }

    private mutating func message() -> Message {
        var properties = Properties()
        if random.oneIn(4) {
            properties[string: .contentType] = random.pick(Self.names)
            properties[binary: .correlationData] = payload()
            properties.appendUserProperty("key", random.pick(Self.names))
        }
        let publish = Publish(
            topic: random.pick(Self.names),
            payload: payload(),
            qos: random.pick(QoS.allCases),
            isRetained: random.oneIn(2),
            properties: properties
        )
        return Message(
            publish,
            publisher: random.oneIn(4) ? nil : random.pick(Self.names),
            expiresAt: random.oneIn(3) ? time + 60_000 : .max
        )
    }

    private mutating func payload() -> ByteBuffer {
        let isLarge = random.oneIn(50)
        let count = random.below(isLarge ? payloadBytesMax : 200)
        return ByteBuffer(bytes: (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) })
    }
}

/// The same values from the same seed.
package struct SplitMix64: RandomNumberGenerator, Sendable {
    private var state: UInt64

    package init(seed: UInt64) { state = seed }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = (state ^ (state >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }

    /// True once in `times`.
    package mutating func oneIn(_ times: Int) -> Bool { below(times) == 0 }
    package mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
    package mutating func pick<Element>(_ elements: [Element]) -> Element { elements[below(elements.count)] }
}
