import MQTTPackets
import MQTTStore
import NIOCore

/// All that is live in a journal, as lines of JSON.
struct JournalDump {
    private static let pageCount = 10_000
    private static let pageBytes = 16 << 20

    private let index: JournalIndex

    init(_ index: JournalIndex) { self.index = index }

    func run(_ line: (String) throws -> Void) throws {
        if let broker = index.broker { try line(self.line(broker)) }
        for session in index.sessions.values.sorted(by: { $0.incarnation < $1.incarnation }) {
            try dump(session, line)
        }
        let window = ReadWindow()
        for place in index.retained.values.sorted(by: { ($0.segment, $0.offset) < ($1.segment, $1.offset) }) {
            guard let file = index.segment(place.segment)?.file else { continue }
            let (head, bytes) = try window.record(file, at: Int(place.offset))
            guard let stored = head.retained(bytes) else { continue }
            var object = JSONObject("retained")
            object.add("version", stored.version)
            add(stored.message, to: &object)
            try line(object.text)
        }
    }

    private func line(_ broker: StoredBroker) -> String {
        var object = JSONObject("broker")
        object.add("time", broker.time)
        object.add("wallClock", broker.wallClock)
        object.add("lastIncarnation", broker.lastIncarnation)
        object.add("lastRetainedVersion", broker.lastRetainedVersion)
        return object.text
    }

    private func dump(_ session: JournalSession, _ line: (String) throws -> Void) throws {
        var object = JSONObject("session", client: session.clientID)
        object.add("incarnation", session.incarnation)
        object.add("expiryInterval", session.expiryInterval)
        if let time = session.disconnectedAt { object.add("disconnectedAt", wallClock(time)) }
        object.add("queued", session.queue.count)
        object.add("sendMark", session.sendMark)
        object.add("nextNumber", session.nextNumber)
        object.add("receivedPacketIDs", session.received.sorted())
        object.add("retiredPacketIDs", session.retired.sorted())
        try line(object.text)
        if let will = session.will { try line(self.line(will, session.clientID)) }
        for subscription in session.subscriptions.values.sorted(by: { $0.filter < $1.filter }) {
            var object = JSONObject("subscription", client: session.clientID)
            add(subscription, to: &object)
            try line(object.text)
        }
        for replay in session.replays.values.sorted(by: { $0.sequence < $1.sequence }) {
            var object = JSONObject("replay", client: session.clientID)
            add(replay.subscription, to: &object)
            object.add("versionMax", replay.versionMax)
            object.add("through", replay.through)
            object.add("sequence", replay.sequence)
            try line(object.text)
        }
        for (topic, sequence) in session.pulled.sorted(by: { $0.key.text < $1.key.text }) {
            var object = JSONObject("pulled", client: session.clientID)
            object.add("topic", topic.text)
            object.add("sequence", sequence)
            try line(object.text)
        }
        try dumpMessages(session, line)
    }

    private func dumpMessages(_ session: JournalSession, _ line: (String) throws -> Void) throws {
        var number: UInt64 = 0
        while true {
            let wanted = StoredPage(
                incarnation: session.incarnation,
                number: number,
                count: Self.pageCount,
                bytes: Self.pageBytes
            )
            let page = try JournalPlaces(of: [wanted], in: index).read()[0]
            guard let last = page.last else { return }
            for stored in page { try line(self.line(stored, session.clientID)) }
            number = last.number + 1
        }
    }

    private func line(_ stored: StoredMessage, _ clientID: String) -> String {
        var object = JSONObject("message", client: clientID)
        object.add("number", stored.number)
        object.add("qos", stored.qos.rawValue)
        object.add("retain", stored.isRetained)
        if !stored.identifiers.isEmpty { object.add("subscriptionIdentifiers", stored.identifiers) }
        if !stored.sharedFilter.isEmpty { object.add("sharedFilter", stored.sharedFilter) }
        if let message = stored.message {
            add(message, to: &object)
        } else {
            object.add("pubrecReceived", true)
        }
        return object.text
    }

    private func line(_ will: Will, _ clientID: String) -> String {
        var object = JSONObject("will", client: clientID)
        object.add("topic", will.topic)
        object.add("qos", will.qos.rawValue)
        object.add("retain", will.isRetained)
        object.add(will.properties)
        object.add(payload: will.payload)
        return object.text
    }

    private func add(_ subscription: StoredSubscription, to object: inout JSONObject) {
        object.add("filter", subscription.filter)
        object.add("qos", subscription.options.qos.rawValue)
        object.add("noLocal", subscription.options.noLocal)
        object.add("retainAsPublished", subscription.options.retainAsPublished)
        object.add("retainHandling", subscription.options.retainHandling.rawValue)
        if subscription.identifier != 0 { object.add("identifier", subscription.identifier) }
    }

    private func add(_ message: Message, to object: inout JSONObject) {
        object.add("topic", message.topic)
        object.add("publishedQoS", message.qos.rawValue)
        if let publisher = message.publisher { object.add("publisher", publisher) }
        if message.expiresAt != .max { object.add("expiresAt", wallClock(message.expiresAt)) }
        object.add(message.properties)
        object.add(payload: message.payload)
    }

    /// Milliseconds since 1970, as the machine's clock had it when the broker was last there.
    private func wallClock(_ time: Int64) -> Int64 {
        guard let broker = index.broker else { return time }
        let (result, overflows) = (time &- broker.time).addingReportingOverflow(broker.wallClock)
        return overflows ? .max : result
    }
}

extension Message {
    /// Those that are passed on. They were checked when the message was read.
    fileprivate var properties: Properties {
        let bytes = bytes
        let span = bytes.span
        return (try? Properties(decoding: span, view.properties, in: .publish)) ?? Properties()
    }
}

/// An object of JSON in one line.
private struct JSONObject {
    private var members: String

    init(_ kind: String) { members = "{\"kind\":" + JSON.string(kind) }

    init(_ kind: String, client: String) {
        self.init(kind)
        add("client", client)
    }

    var text: String { members + "}" }

    private mutating func add(_ name: String, json: String) { members += ",\"\(name)\":" + json }
    mutating func add(_ name: String, _ value: some FixedWidthInteger) { add(name, json: "\(value)") }
    mutating func add(_ name: String, _ value: Bool) { add(name, json: value ? "true" : "false") }
    mutating func add(_ name: String, _ text: String) { add(name, json: JSON.string(text)) }

    mutating func add(_ name: String, _ values: [some FixedWidthInteger]) {
        add(name, json: "[" + values.map { "\($0)" }.joined(separator: ",") + "]")
    }

    /// As text where it is text in one line, else as Base64.
    mutating func add(payload: ByteBuffer) { add("payload", payload) }

    private mutating func add(_ name: String, _ bytes: ByteBuffer) {
        if let text = String(validating: bytes.readableBytesView, as: UTF8.self),
            !text.unicodeScalars.contains(where: Self.isControl)
        {
            add(name, text)
        } else {
            add(name + "Base64", Base64.string(bytes.readableBytesView))
        }
    }

    private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
        scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value)
    }

    /// Each under its own name; user properties as pairs, since they may repeat.
    mutating func add(_ properties: Properties) {
        for property in properties.elements {
            let name = "\(property.identifier)"
            switch property.value {
            case .integer(let value): add(name, value)
            case .string(let text): add(name, text)
            case .binary(let bytes): add(name, bytes)
            case .pair: continue
            }
        }
        guard !properties.userProperties.isEmpty else { return }
        let pairs = properties.userProperties.map { "[\(JSON.string($0.name)),\(JSON.string($0.value))]" }
        add("userProperties", json: "[" + pairs.joined(separator: ",") + "]")
    }
}

/// RFC 4648, section 4.
enum Base64 {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    static func string(_ bytes: some Collection<UInt8>) -> String {
        var characters: [UInt8] = []
        characters.reserveCapacity((bytes.count + 2) / 3 * 4)
        var (group, bits) = (UInt32(0), 0)
        for byte in bytes {
            group = group << 8 | UInt32(byte)
            bits += 8
            while bits >= 6 {
                bits -= 6
                characters.append(alphabet[Int(group >> UInt32(bits) & 63)])
            }
        }
        if bits > 0 { characters.append(alphabet[Int(group << UInt32(6 - bits) & 63)]) }
        while characters.count % 4 != 0 { characters.append(UInt8(ascii: "=")) }
        return String(decoding: characters, as: UTF8.self)
    }
}
