import MQTTPackets
import MQTTStore
import NIOCore

extension StoreContents {
    /// What is wrong with the state that a store opened with, in readable lines; empty where it is right.
    package func differences(from found: StoredState) -> [String] {
        let expected = Inventory(state)
        let actual = Inventory(found)
        var differences = expected.differences(from: actual)
        for session in found.sessions {
            guard let next = sessions[session.incarnation]?.nextNumber, session.nextNumber < next else { continue }
            // More is harmless: numbers may have gaps.
            differences.append(
                "session \(session.incarnation), next number: expected at least \(next), found \(session.nextNumber)"
            )
        }
        return differences
    }

    /// What is wrong with a page of a session's messages; empty where it is right.
    package func differences(
        fromPage page: [StoredMessage],
        of incarnation: UInt64,
        from number: UInt64,
        count: Int,
        bytes: Int
    ) -> [String] {
        let title = "messages of \(incarnation) from \(number), at most \(count) and \(bytes) bytes"
        let expected = messages(of: incarnation, from: number)
        guard page.count <= count else { return ["\(title): found \(page.count)"] }
        var differences: [String] = []
        for (wanted, found) in zip(expected, page) {
            let (left, right) = (Inventory.describe(wanted), Inventory.describe(found))
            if left != right { differences.append("\(title): expected \(left), found \(right)") }
            if wanted.number != found.number { return differences }
        }
        if page.count > expected.count {
            differences.append("\(title): there are \(expected.count), found \(page.count)")
        }
        if page.count < min(count, expected.count), Self.mostBytes(of: page) < bytes {
            differences.append(
                "\(title): found \(page.count), there are \(expected.count), and the bytes are not reached"
            )
        }
        if Self.leastBytes(of: page.dropLast()) >= bytes {
            differences.append("\(title): found \(page.count), though fewer have the bytes")
        }
        return differences
    }

    /// Whether a store counts topics, properties or what is around them is left to it, within bounds.
    private static func mostBytes(of page: [StoredMessage]) -> Int {
        page.reduce(0) {
            $0 + 1_024 + ($1.message?.encodedBytes ?? 0) + $1.identifiers.count * 8 + $1.sharedFilter.utf8.count
        }
    }

    private static func leastBytes(of page: ArraySlice<StoredMessage>) -> Int {
        page.reduce(0) { $0 + ($1.message?.payload.readableBytes ?? 0) }
    }
}

/// The contents of a store as lines of text: what is compared is what is read in a failure.
struct Inventory {
    private var lines: [String: String] = [:]

    init(_ state: StoredState) {
        if let broker = state.broker {
            add(
                "broker",
                "time \(broker.time), clock \(broker.wallClock), incarnation \(broker.lastIncarnation), "
                    + "version \(broker.lastRetainedVersion)"
            )
        }
        for retained in state.retained {
            add(
                "retained in \(Self.escape(retained.message.topic))",
                "version \(retained.version), \(Self.describe(retained.message))"
            )
        }
        for session in state.sessions { add(session) }
    }

    private mutating func add(_ session: StoredSession) {
        let name = "session \(session.incarnation)"
        add(name, "client \(Self.escape(session.clientID))")
        add("\(name), expiry", "\(session.expiryInterval)")
        add("\(name), disconnected", session.disconnectedAt.map { "at \($0)" } ?? "no")
        add("\(name), send mark", "\(session.sendMark)")
        add("\(name), queued messages", "\(session.queuedMessages)")
        if let will = session.will { add("\(name), will", Self.describe(will)) }
        for subscription in session.subscriptions {
            add("\(name), subscription to \(Self.escape(subscription.filter))", Self.describe(subscription))
        }
        for packetID in session.receivedPacketIDs { add("\(name), received packet \(packetID)", "yes") }
        for packetID in session.retiredPacketIDs { add("\(name), retired packet \(packetID)", "yes") }
        for replay in session.replays {
            add(
                "\(name), replay of \(Self.escape(replay.subscription.filter))",
                "\(Self.describe(replay.subscription)), up to \(replay.versionMax), "
                    + "through \(Self.escape(replay.through)), sequence \(replay.sequence)"
            )
        }
        for (topic, sequence) in session.pulledTopics {
            add("\(name), pulled \(Self.escape(topic))", "up to sequence \(sequence)")
        }
    }

    private mutating func add(_ key: String, _ value: String) {
        lines[key] = lines[key].map { "\($0); and again \(value)" } ?? value
    }

    /// Sorted, so that the same failure reads the same.
    func differences(from found: Self) -> [String] {
        Set(lines.keys).union(found.lines.keys).sorted().compactMap { key in
            switch (lines[key], found.lines[key]) {
            case (let expected?, nil): "\(key): expected \(expected), found nothing"
            case (nil, let found?): "\(key): expected nothing, found \(found)"
            case (let expected?, let found?):
                expected == found ? nil : "\(key): expected \(expected), found \(found)"
            case (nil, nil): nil
            }
        }
    }

    static func describe(_ message: StoredMessage) -> String {
        "number \(message.number), QoS \(message.qos.rawValue), retain \(message.isRetained), "
            + "identifiers \(message.identifiers), shared \(escape(message.sharedFilter)), "
            + (message.message.map(describe) ?? "received")
    }

    static func describe(_ message: Message) -> String {
        var encoded = ByteBuffer()
        message.encode(into: &encoded)
        let publisher = message.publisher.map(escape) ?? "the broker"
        return "\(escape(message.topic)) by \(publisher), QoS \(message.qos.rawValue), "
            + "retain \(message.isRetained), \(describe(message.payload)), in all \(describe(encoded))"
    }

    private static func describe(_ will: Will) -> String {
        "\(escape(will.topic)), QoS \(will.qos.rawValue), retain \(will.isRetained), \(describe(will.payload)), "
            + "properties [\(will.properties.elements.map(describe).joined(separator: ", "))]"
    }

    private static func describe(_ property: Property) -> String {
        switch property.value {
        case .integer(let number): "\(property.identifier) \(number)"
        case .string(let text): "\(property.identifier) \(escape(text))"
        case .binary(let data): "\(property.identifier) \(describe(data))"
        case .pair(let name, let value): "\(property.identifier) \(escape(name)) \(escape(value))"
        }
    }

    private static func describe(_ subscription: StoredSubscription) -> String {
        let options = subscription.options
        return "QoS \(options.qos.rawValue), no local \(options.noLocal), as published \(options.retainAsPublished), "
            + "handling \(options.retainHandling.rawValue), identifier \(subscription.identifier)"
    }

    private static func describe(_ bytes: ByteBuffer) -> String {
        // FNV-1a, so that long payloads are told apart in a short line.
        let hash = bytes.readableBytesView.reduce(0xCBF2_9CE4_8422_2325 as UInt64) {
            ($0 ^ UInt64($1)) &* 0x100_0000_01B3
        }
        return "\(bytes.readableBytes) bytes with hash \(String(hash, radix: 16))"
    }

    /// In ASCII: strings that are canonically equivalent are not the same here.
    private static func escape(_ text: String) -> String {
        "'" + text.unicodeScalars.map { $0.escaped(asASCII: true) }.joined() + "'"
    }
}
