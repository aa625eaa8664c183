import Configuration
import MQTT

extension MQTTClient.Configuration {
    /// What a reader says, and the defaults for the rest.
    ///
    /// Keys are: `servers` (URLs with commas between them), `version` (3.1, 3.1.1 or 5), `client-id`, `clean-start`,
    /// `session-expiry` (seconds, or `never`), `keep-alive` (seconds), `user-name`, `password`, `receive-maximum`,
    /// `packet-bytes-max`, `topic-aliases-max`, `automatic-topic-aliases-max`, `connect-timeout` (seconds),
    /// `sequence-bytes-max`, `follows-server-reference`, `requests-response-information`, `user-properties` (of CONNECT, each
    /// a name, `=` and a value, with commas between them); below `will`: `topic`, without which there is none, `payload`,
    /// `qos` (0 to 2), `retain`, `delay` (seconds), `content-type`; below `reconnect`: `delay`, `delay-max` (seconds),
    /// `jitter` (0 to 1), `attempts-max`, `retries-refusals`; below `queue`: `messages-max`, `bytes-max`, `age-max` (seconds), `attempts-max`, `policy` (wait, refuse-newest or
    /// drop-oldest), `keeps-at-most-once`. A reader cannot tell what keys there are: one that is misspelt goes unseen.
    ///
    /// - Throws: `invalidArgument` for the first value that is not what its key takes; ranges are looked at when a client
    ///   is made.
    public init(reader: ConfigReader) throws(MQTTError) {
        let settings = Settings(reader: reader)
        var servers: [ServerAddress] = []
        for url in settings.text("servers")?.split(separator: ",") ?? [] {
            servers.append(try ServerAddress(String(url)))
        }
        if servers.isEmpty { self.init() } else { self.init(servers: servers) }
        version = try settings.choice("version", ["3.1": .v3_1, "3.1.1": .v3_1_1, "5": .v5, "5.0": .v5]) ?? version
        clientID = settings.text("client-id") ?? clientID
        cleanStart = try settings.flag("clean-start") ?? cleanStart
        if settings.text("session-expiry") == "never" {
            sessionExpiry = .never
        } else if let time = try settings.seconds("session-expiry") {
            sessionExpiry = time == .zero ? .withConnection : .after(time)
        }
        keepAlive = try settings.seconds("keep-alive") ?? keepAlive
        userName = settings.text("user-name")
        password = settings.text("password").map { ByteBuffer(string: $0) }
        receiveMaximum = try settings.number("receive-maximum") ?? receiveMaximum
        packetBytesMax = try settings.number("packet-bytes-max").map { UInt32(clamping: $0) }
        topicAliasesMax = try settings.number("topic-aliases-max") ?? topicAliasesMax
        automaticTopicAliasesMax = try settings.number("automatic-topic-aliases-max") ?? automaticTopicAliasesMax
        connectTimeout = try settings.seconds("connect-timeout") ?? connectTimeout
        sequenceBytesMax = try settings.number("sequence-bytes-max") ?? sequenceBytesMax
        followsServerReference = try settings.flag("follows-server-reference") ?? followsServerReference
        requestsResponseInformation =
            try settings.flag("requests-response-information") ?? requestsResponseInformation
        for pair in settings.text("user-properties")?.split(separator: ",") ?? [] {
            let words = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard words.count == 2, words.allSatisfy({ $0.utf8.count <= 65_535 }) else {
                throw .invalidArgument("user-properties has \"\(pair)\", and each should be NAME=VALUE")
            }
            connectProperties.appendUserProperty(words[0], words[1])
        }
        will = try Self.will(settings)
        try read(reconnect: settings)
        try read(queue: settings)
    }

    private static func will(_ settings: Settings) throws(MQTTError) -> Will? {
        guard let topic = settings.text("will.topic") else {
            let strays = ["payload", "qos", "retain", "delay", "content-type"].map { "will.\($0)" }
            if let stray = strays.first(where: settings.has) { throw .invalidArgument("\(stray) needs will.topic") }
            return nil
        }
        let payload = ByteBuffer(string: settings.text("will.payload") ?? "")
        let qos = try settings.qos("will.qos")
        let isRetained = try settings.flag("will.retain")
        var will = Will(topic: topic, payload: payload, qos: qos ?? .atMostOnce, isRetained: isRetained ?? false)
        if let delay = try settings.seconds("will.delay") {
            will.properties[integer: .willDelayInterval] = UInt32(clamping: delay.components.seconds)
        }
        if let type = settings.text("will.content-type") {
            guard type.utf8.count <= 65_535 else {
                throw .invalidArgument("will.content-type has more than 65535 bytes")
            }
            will.properties[string: .contentType] = type
        }
        return will
    }

    private mutating func read(reconnect settings: Settings) throws(MQTTError) {
        reconnect.delay = try settings.seconds("reconnect.delay") ?? reconnect.delay
        reconnect.delayMax = try settings.seconds("reconnect.delay-max") ?? reconnect.delayMax
        reconnect.jitter = try settings.fraction("reconnect.jitter") ?? reconnect.jitter
        reconnect.attemptsMax = try settings.number("reconnect.attempts-max") ?? reconnect.attemptsMax
        reconnect.retriesRefusals = try settings.flag("reconnect.retries-refusals") ?? reconnect.retriesRefusals
    }

    private mutating func read(queue settings: Settings) throws(MQTTError) {
        queue.messagesMax = try settings.number("queue.messages-max") ?? queue.messagesMax
        queue.bytesMax = try settings.number("queue.bytes-max") ?? queue.bytesMax
        queue.ageMax = try settings.seconds("queue.age-max") ?? queue.ageMax
        queue.attemptsMax = try settings.number("queue.attempts-max") ?? queue.attemptsMax
        queue.keepsAtMostOnce = try settings.flag("queue.keeps-at-most-once") ?? queue.keepsAtMostOnce
        let policies = [
            "wait": MQTTClient.QueueLimits.Policy.wait, "refuse-newest": .refuseNewest, "drop-oldest": .dropOldest,
        ]
        queue.policy = try settings.choice("queue.policy", policies) ?? queue.policy
    }
}

/// Values with what they have to be.
private struct Settings {
    let reader: ConfigReader

    func text(_ key: String) -> String? { reader.string(forKey: ConfigKey(key)) }

    func number(_ key: String) throws(MQTTError) -> Int? {
        try value(reader.int(forKey: ConfigKey(key)), key, "a number")
    }

    func qos(_ key: String) throws(MQTTError) -> QoS? {
        let number = reader.int(forKey: ConfigKey(key))
        return try value(number.flatMap { UInt8(exactly: $0) }.flatMap { QoS(rawValue: $0) }, key, "0, 1 or 2")
    }

    func flag(_ key: String) throws(MQTTError) -> Bool? {
        try value(reader.bool(forKey: ConfigKey(key)), key, "true or false")
    }

    func seconds(_ key: String) throws(MQTTError) -> Duration? {
        try value(real(key, 0...4e9), key, "a number of seconds").map { .milliseconds(Int64($0 * 1_000)) }
    }

    func fraction(_ key: String) throws(MQTTError) -> Double? {
        try value(real(key, 0...1), key, "a number from 0 to 1")
    }

    func has(_ key: String) -> Bool { found(key) != nil }

    private func real(_ key: String, _ range: ClosedRange<Double>) -> Double? {
        let number = reader.double(forKey: ConfigKey(key)) ?? reader.int(forKey: ConfigKey(key)).map(Double.init)
        return number.flatMap { range.contains($0) ? $0 : nil }
    }

    func choice<Value>(_ key: String, _ choices: [String: Value]) throws(MQTTError) -> Value? {
        try value(text(key).flatMap { choices[$0] }, key, "one of \(choices.keys.sorted().joined(separator: ", "))")
    }

    /// A reader says nothing of a value that is not of the type asked for.
    private func value<Value>(_ read: Value?, _ key: String, _ expected: String) throws(MQTTError) -> Value? {
        guard read == nil, let found = found(key) else { return read }
        throw .invalidArgument("\(key) is \"\(found)\", and should be \(expected)")
    }

    private func found(_ key: String) -> String? {
        let key = ConfigKey(key)
        if let text = reader.string(forKey: key) { return text }
        if let number = reader.int(forKey: key) { return "\(number)" }
        if let number = reader.double(forKey: key) { return "\(number)" }
        return reader.bool(forKey: key).map { "\($0)" }
    }
}
