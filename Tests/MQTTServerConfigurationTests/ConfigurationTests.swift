import Configuration
import MQTTServer
import MQTTServerConfiguration
import Testing

@Suite struct ConfigurationTests {
    private func configuration(_ variables: [String: String]) throws -> BrokerConfiguration {
        let provider = EnvironmentVariablesProvider(environmentVariables: variables)
        return try BrokerConfiguration(reader: ConfigReader(provider: provider).scoped(to: "apus"))
    }

    @Test("every key sets what it names, and without any there are the defaults")
    func keys() throws {
        let read = try configuration([
            "APUS_HOST": "::1", "APUS_PORT": "0", "APUS_THREADS": "3", "APUS_CONNECT_TIMEOUT": "2.5",
            "APUS_DRAIN_TIME": "7", "APUS_HOOK_TIMEOUT": "3",
            "APUS_SYS_INTERVAL": "0", "APUS_MAX_KEEP_ALIVE": "300",
            "APUS_RESPONSE_INFORMATION": "r/", "APUS_QUEUE_POLICY": "drop-oldest", "APUS_CLIENT_TOPICS": "mosca",
            "APUS_BROKER_ID": "b", "APUS_LOG_PACKETS": "c", "APUS_LIMIT_QUEUED_MESSAGES": "17",
        ])
        #expect(read.addresses == [.init(host: "::1", port: 0)])
        #expect(read.threads == 3)
        #expect(read.connectTimeout == .milliseconds(2_500))
        #expect(read.drainTime == .seconds(7))
        #expect(read.hookTimeout == .seconds(3))
        #expect(read.systemTopicsInterval == .zero)
        #expect(read.keepAliveMax == 300)
        #expect(read.responseInformation == "r/")
        #expect(read.queuePolicy == .dropOldest)
        #expect(read.clientTopics == .mosca)
        #expect(read.brokerID == "b")
        #expect(read.tracedClientID == "c")
        #expect(read.limits.queuedMessagesMax == 17)
        let defaults = try configuration([:])
        #expect(defaults.addresses == BrokerConfiguration().addresses)
        #expect(defaults.threads == nil)
        #expect(defaults.drainTime == BrokerConfiguration().drainTime)
        #expect(defaults.limits.queuedMessagesMax == BrokerConfiguration().limits.queuedMessagesMax)
    }

    @Test(
        "an error names key, value and what was expected",
        arguments: [
            ("port", "65536", "a number from 0 to 65535"), ("port", "mqtt", "a number from 0 to 65535"),
            ("threads", "0", "a number from 1 to 1024"),
            ("sys-interval", "0.01", "a number of seconds from 0.1 to 86400.0"),
            ("drain-time", "soon", "a number of seconds from 0.001 to 86400.0"),
            ("queue-policy", "drop", "one of drop-newest, drop-oldest, disconnect"),
            ("broker-id", "a/b", "one level of a topic: without /, + and #"),
            ("limit.topic-levels", "0", "a number from 1 to 65535"),
        ]
    )
    func errors(_ key: String, _ value: String, _ expected: String) throws {
        let name = "APUS_" + key.uppercased().map { "-.".contains($0) ? "_" : String($0) }.joined()
        let error = try #require(#expect(throws: SettingError.self) { try configuration([name: value]) })
        #expect(error == SettingError(key: key, value: value, expected: expected))
        #expect("\(error)" == "\(key) is \"\(value)\", and should be \(expected)")
    }

    @Test("a value of another type is an error too, not the default")
    func types() throws {
        let provider = InMemoryProvider(values: ["port": .init(.bool(true), isSecret: false)])
        #expect(throws: SettingError.self) { try BrokerConfiguration(reader: ConfigReader(provider: provider)) }
    }
}
