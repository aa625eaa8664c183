import MQTTPackets

/// Payloads to bytes and back.
public protocol PayloadCoder: Sendable {
    /// What 5.0 says of the payload in Content Type (section 3.3.2.3.9); nil says nothing.
    var contentType: String? { get }
    /// The bytes of a value.
    func encode<Value: Encodable>(_ value: Value) throws -> ByteBuffer
    /// The value of bytes that somebody sent: any bytes may come.
    func decode<Value: Decodable>(_ type: Value.Type, from payload: ByteBuffer) throws -> Value
}

/// Topics of one form, with payloads of one type: `Topic<Reading>("sensors/{room}/temperature")`.
///
/// A placeholder takes the place of one whole level. To publish each is given a value; a subscription has `+` in their
/// places, and tells the values of each message.
public struct Topic<Payload: Codable & Sendable>: Sendable {
    private enum Level: Sendable {
        case fixed(String)
        case placeholder(String)
    }

    private let levels: [Level]
    /// What payloads are written and read with.
    public let coder: any PayloadCoder

    /// A pattern that is no topic with placeholders for whole levels, or has one name twice, is a programmer error.
    public init(_ pattern: String, coder: any PayloadCoder = JSONPayloadCoder()) {
        var names: Set<String> = []
        levels = pattern.split(separator: "/", omittingEmptySubsequences: false).map { level in
            guard level.first == "{", level.last == "}", level.count > 2 else {
                precondition(!level.contains { "{}".contains($0) }, "a placeholder is a whole level: \(pattern)")
                return .fixed(String(level))
            }
            let name = String(level.dropFirst().dropLast())
            precondition(names.insert(name).inserted, "\(name) stands twice in \(pattern)")
            return .placeholder(name)
        }
        self.coder = coder
        precondition(Topics.isValidName(pattern), "not a topic: \(pattern)")
    }

    /// The topic filter that has all topics of this form.
    public var filter: String {
        levels.map {
            switch $0 {
            case .fixed(let text): text
            case .placeholder: "+"
            }
        }.joined(separator: "/")
    }

    /// The topic name with these values. Throws where one is missing or too many, or is not one whole level.
    public func name(_ values: [String: String]) throws(MQTTError) -> String {
        var parts: [String] = []
        var used = 0
        for level in levels {
            switch level {
            case .fixed(let text): parts.append(text)
            case .placeholder(let name):
                guard let value = values[name] else { throw .invalidArgument("no value for {\(name)}") }
                guard !value.isEmpty, !value.contains("/"), Topics.isValidName(value) else {
                    throw .invalidArgument("the value of {\(name)} is no topic level: \(value.prefix(100))")
                }
                parts.append(value)
                used += 1
            }
        }
        guard used == values.count else { throw .invalidArgument("more values than placeholders") }
        return parts.joined(separator: "/")
    }

    /// The values of the placeholders in a topic name; nil where it has another form.
    public func values(in name: String) -> [String: String]? {
        let parts = name.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == levels.count else { return nil }
        var values: [String: String] = [:]
        for (part, level) in zip(parts, levels) {
            switch level {
            case .fixed(let text): guard part == text else { return nil }
            case .placeholder(let name): values[name] = String(part)
            }
        }
        return values
    }
}

/// A message of a typed topic.
public struct TypedMessage<Payload: Codable & Sendable>: Sendable {
    /// The value, or why the payload is none.
    public let payload: Result<Payload, any Error>
    /// The level that stands for each placeholder, by the name of that.
    public let values: [String: String]
    /// The message as it came, with its bytes.
    public let message: MQTTMessage
}

/// The messages of a typed topic, decoded. Otherwise as `MQTTSubscription`.
public struct TypedSubscription<Payload: Codable & Sendable>: AsyncSequence, Sendable {
    /// What the messages come through.
    public let subscription: MQTTSubscription
    let topic: Topic<Payload>

    /// Decodes the messages as they are taken.
    public struct AsyncIterator: AsyncIteratorProtocol {
        var messages: MQTTSubscription.AsyncIterator
        let topic: Topic<Payload>

        /// The next message, once there is one. A payload that does not decode is an element as well.
        public mutating func next() async -> TypedMessage<Payload>? {
            await messages.next().map(decoded)
        }

        /// The same, without leaving the caller's actor.
        public mutating func next(isolation actor: isolated (any Actor)?) async -> TypedMessage<Payload>? {
            await messages.next(isolation: actor).map(decoded)
        }

        private func decoded(_ message: MQTTMessage) -> TypedMessage<Payload> {
            TypedMessage(
                payload: Result { try topic.coder.decode(Payload.self, from: message.payload) },
                values: topic.values(in: message.topic) ?? [:],
                message: message
            )
        }
    }

    /// One task reads at a time.
    public func makeAsyncIterator() -> AsyncIterator {
        AsyncIterator(messages: subscription.makeAsyncIterator(), topic: topic)
    }

    /// Ends the subscription, and returns when the server has said so.
    public func unsubscribe() async throws(MQTTError) { try await subscription.unsubscribe() }
}

extension MQTTClient {
    /// Publishes a value; `values` fill the placeholders. Otherwise as `publish` of bytes.
    @discardableResult
    public func publish<Payload>(
        _ payload: Payload,
        to topic: Topic<Payload>,
        _ values: [String: String] = [:],
        qos: QoS = .atMostOnce,
        retain: Bool = false,
        properties: Properties = Properties()
    ) async throws(MQTTError) -> ReasonCode {
        let name = try topic.name(values)
        let bytes: ByteBuffer
        do { bytes = try topic.coder.encode(payload) } catch {
            throw .invalidArgument("the payload cannot be encoded: \(error)")
        }
        var properties = properties
        if configuration.version == .v5, let contentType = topic.coder.contentType,
            properties[string: .contentType] == nil
        {
            properties[string: .contentType] = contentType
        }
        return try await publish(bytes, to: name, qos: qos, retain: retain, properties: properties)
    }

    /// Subscribes to all topics of one form. Otherwise as `subscribe` to a filter.
    public func subscribe<Payload>(
        to topic: Topic<Payload>,
        qos: QoS = .atMostOnce,
        acknowledging: AcknowledgementMode = .whenTaken
    ) async throws(MQTTError) -> TypedSubscription<Payload> {
        let subscription = try await subscribe(to: topic.filter, qos: qos, acknowledging: acknowledging)
        return TypedSubscription(subscription: subscription, topic: topic)
    }
}
