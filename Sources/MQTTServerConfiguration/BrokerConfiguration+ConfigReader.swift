import Configuration
import MQTTCore
import MQTTPackets
import MQTTServer

extension BrokerConfiguration {
    /// What a reader says, and the defaults for the rest.
    ///
    /// Keys are named as the long options of `apus serve`: `host`, `port`, `threads`, `connect-timeout`, `drain-time` and
    /// `sys-interval` (seconds), `max-keep-alive`, `response-information`, `queue-policy`, `client-topics`, `broker-id`,
    /// `log-packets`; beside them `hook-timeout` (seconds); and `limit.` with the name of any limit of `apus serve`, as in
    /// `limit.queued-messages`. A reader cannot tell what keys there are: one that is misspelt goes unseen.
    ///
    /// - Throws: a `SettingError` for the first value that is not what its key takes.
    public init(reader: ConfigReader) throws(SettingError) {
        self.init()
        let settings = Settings(reader: reader)
        let address = Address()
        let host = settings.text("host") ?? address.host
        addresses = [Address(host: host, port: try settings.number("port", in: 0...65_535) ?? address.port)]
        threads = try settings.number("threads", in: 1...1_024)
        connectTimeout = try settings.seconds("connect-timeout", in: 0.001...86_400) ?? connectTimeout
        drainTime = try settings.seconds("drain-time", in: 0.001...86_400) ?? drainTime
        hookTimeout = try settings.seconds("hook-timeout", in: 0.001...86_400) ?? hookTimeout
        systemTopicsInterval = try settings.systemTopicsInterval() ?? systemTopicsInterval
        keepAliveMax = UInt16(try settings.number("max-keep-alive", in: 0...65_535) ?? Int(keepAliveMax))
        queuePolicy = try settings.choice("queue-policy") ?? queuePolicy
        clientTopics = try settings.choice("client-topics") ?? clientTopics
        tracedClientID = settings.text("log-packets")
        responseInformation = try settings.text("response-information", "a text of at most 65535 bytes") {
            $0.utf8.count <= 65_535
        }
        brokerID = try settings.text("broker-id", "one level of a topic: without /, + and #") {
            Topics.isValidName($0) && !$0.contains("/")
        }
        for limit in Limits.table {
            guard let value = try settings.number("limit.\(limit.name)", in: limit.range) else { continue }
            limits[keyPath: limit.keyPath] = value
        }
    }
}

/// A value that is not what its key takes.
public struct SettingError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The whole key, below that of the reader.
    public let key: String
    /// As it was found.
    public let value: String
    /// What it should have been.
    public let expected: String

    package init(key: String, value: String, expected: String) {
        self.key = key
        self.value = value
        self.expected = expected
    }

    /// One phrase.
    public var description: String { "\(key) is \"\(value)\", and should be \(expected)" }
}

/// Values with what they have to be.
private struct Settings {
    let reader: ConfigReader

    func text(_ key: String) -> String? { reader.string(forKey: ConfigKey(key)) }

    func text(
        _ key: String,
        _ expected: String,
        where isValid: (String) -> Bool
    ) throws(SettingError) -> String? {
        guard let text = text(key) else { return nil }
        guard isValid(text) else { throw SettingError(key: key, value: text, expected: expected) }
        return text
    }

    func number(_ key: String, in range: ClosedRange<Int>) throws(SettingError) -> Int? {
        let number = reader.int(forKey: ConfigKey(key))
        if let number, range.contains(number) { return number }
        guard let found = found(key) else { return nil }
        let expected = "a number from \(range.lowerBound) to \(range.upperBound)"
        throw SettingError(key: key, value: found, expected: expected)
    }

    func seconds(_ key: String, in range: ClosedRange<Double>) throws(SettingError) -> Duration? {
        let number = reader.double(forKey: ConfigKey(key)) ?? reader.int(forKey: ConfigKey(key)).map(Double.init)
        if let number, range.contains(number) { return .milliseconds(Int64(number * 1_000)) }
        guard let found = found(key) else { return nil }
        let expected = "a number of seconds from \(range.lowerBound) to \(range.upperBound)"
        throw SettingError(key: key, value: found, expected: expected)
    }

    /// Zero turns the topics off.
    func systemTopicsInterval() throws(SettingError) -> Duration? {
        let key = "sys-interval"
        let number = reader.double(forKey: ConfigKey(key)) ?? reader.int(forKey: ConfigKey(key)).map(Double.init)
        return number == 0 ? .zero : try seconds(key, in: 0.1...86_400)
    }

    func choice<Value: RawRepresentable<String> & CaseIterable>(_ key: String) throws(SettingError) -> Value? {
        guard let text = text(key) else { return nil }
        guard let value = Value(rawValue: text) else {
            let all = Value.allCases.map(\.rawValue).joined(separator: ", ")
            throw SettingError(key: key, value: text, expected: "one of \(all)")
        }
        return value
    }

    /// What stands there, whatever its type: readers say nothing of a value that is not of the type asked for.
    private func found(_ key: String) -> String? {
        let key = ConfigKey(key)
        if let text = reader.string(forKey: key) { return text }
        if let number = reader.int(forKey: key) { return "\(number)" }
        if let number = reader.double(forKey: key) { return "\(number)" }
        if let flag = reader.bool(forKey: key) { return "\(flag)" }
        return reader.stringArray(forKey: key)?.joined(separator: ",")
    }
}
