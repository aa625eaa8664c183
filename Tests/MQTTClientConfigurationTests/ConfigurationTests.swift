import Configuration
import MQTT
import MQTTClientConfiguration
import Testing

@Suite struct ConfigurationTests {
    private func configuration(_ variables: [String: String]) throws -> MQTTClient.Configuration {
        let provider = EnvironmentVariablesProvider(environmentVariables: variables)
        return try MQTTClient.Configuration(reader: ConfigReader(provider: provider).scoped(to: "mqtt"))
    }

    @Test("every key sets what it names")
    func keys() throws {
        let read = try configuration([
            "MQTT_SERVERS": "mqtt://a,mqtt://b:1884", "MQTT_VERSION": "3.1.1", "MQTT_CLIENT_ID": "c",
            "MQTT_CLEAN_START": "false", "MQTT_SESSION_EXPIRY": "60", "MQTT_KEEP_ALIVE": "7", "MQTT_USER_NAME": "u",
            "MQTT_PASSWORD": "p", "MQTT_RECEIVE_MAXIMUM": "3", "MQTT_PACKET_BYTES_MAX": "1000",
            "MQTT_TOPIC_ALIASES_MAX": "4", "MQTT_AUTOMATIC_TOPIC_ALIASES_MAX": "5", "MQTT_CONNECT_TIMEOUT": "2.5",
            "MQTT_SEQUENCE_BYTES_MAX": "6", "MQTT_RECONNECT_DELAY": "0.5", "MQTT_RECONNECT_DELAY_MAX": "9",
            "MQTT_RECONNECT_ATTEMPTS_MAX": "8", "MQTT_RECONNECT_RETRIES_REFUSALS": "true",
            "MQTT_QUEUE_MESSAGES_MAX": "10", "MQTT_QUEUE_BYTES_MAX": "11", "MQTT_QUEUE_AGE_MAX": "12",
            "MQTT_QUEUE_ATTEMPTS_MAX": "13", "MQTT_QUEUE_POLICY": "drop-oldest",
            "MQTT_QUEUE_KEEPS_AT_MOST_ONCE": "false", "MQTT_RECONNECT_JITTER": "0.25",
            "MQTT_FOLLOWS_SERVER_REFERENCE": "false", "MQTT_REQUESTS_RESPONSE_INFORMATION": "true",
            "MQTT_USER_PROPERTIES": "a=1,b==", "MQTT_WILL_TOPIC": "w", "MQTT_WILL_PAYLOAD": "gone",
            "MQTT_WILL_QOS": "1", "MQTT_WILL_RETAIN": "true", "MQTT_WILL_DELAY": "3",
            "MQTT_WILL_CONTENT_TYPE": "text/plain",
        ])
        #expect(read.servers == [ServerAddress(host: "a"), ServerAddress(host: "b", port: 1_884)])
        #expect(read.version == .v3_1_1 && read.clientID == "c" && !read.cleanStart)
        #expect(read.sessionExpiry == .after(.seconds(60)) && read.keepAlive == .seconds(7))
        #expect(read.userName == "u" && read.password == ByteBuffer(string: "p"))
        #expect(read.receiveMaximum == 3 && read.packetBytesMax == 1_000)
        #expect(read.topicAliasesMax == 4 && read.automaticTopicAliasesMax == 5)
        #expect(read.connectTimeout == .milliseconds(2_500) && read.sequenceBytesMax == 6)
        #expect(read.reconnect.delay == .milliseconds(500) && read.reconnect.delayMax == .seconds(9))
        #expect(read.reconnect.attemptsMax == 8 && read.reconnect.retriesRefusals)
        #expect(read.queue.messagesMax == 10 && read.queue.bytesMax == 11 && read.queue.ageMax == .seconds(12))
        #expect(read.queue.attemptsMax == 13 && read.queue.policy == .dropOldest && !read.queue.keepsAtMostOnce)
        #expect(read.reconnect.jitter == 0.25 && !read.followsServerReference && read.requestsResponseInformation)
        var connect = Properties()
        connect.appendUserProperty("a", "1")
        connect.appendUserProperty("b", "=")
        #expect(read.connectProperties == connect)
        var will = Will(topic: "w", payload: ByteBuffer(string: "gone"), qos: .atLeastOnce, isRetained: true)
        will.properties[integer: .willDelayInterval] = 3
        will.properties[string: .contentType] = "text/plain"
        #expect(read.will == will)
        #expect(try configuration(["MQTT_SESSION_EXPIRY": "never"]).sessionExpiry == .never)
    }

    @Test("without any key there are the defaults")
    func defaults() throws {
        let read = try configuration([:])
        let defaults = MQTTClient.Configuration()
        #expect(read.servers == defaults.servers && read.version == defaults.version)
        #expect(read.cleanStart == defaults.cleanStart && read.sessionExpiry == defaults.sessionExpiry)
        #expect(read.queue == defaults.queue && read.reconnect == defaults.reconnect)
        #expect(read.keepAlive == defaults.keepAlive && read.receiveMaximum == defaults.receiveMaximum)
    }

    @Test(
        "an error names key, value and what was expected",
        arguments: [
            ("MQTT_VERSION", "4", "version is \"4\", and should be one of 3.1, 3.1.1, 5, 5.0"),
            ("MQTT_CLEAN_START", "perhaps", "clean-start is \"perhaps\", and should be true or false"),
            ("MQTT_KEEP_ALIVE", "long", "keep-alive is \"long\", and should be a number of seconds"),
            ("MQTT_QUEUE_MESSAGES_MAX", "many", "queue.messages-max is \"many\", and should be a number"),
            ("MQTT_RECONNECT_JITTER", "2", "reconnect.jitter is \"2\", and should be a number from 0 to 1"),
            ("MQTT_USER_PROPERTIES", "a=1,b", "user-properties has \"b\", and each should be NAME=VALUE"),
            ("MQTT_WILL_QOS", "1", "will.qos needs will.topic"),
            ("MQTT_WILL_DELAY", "1", "will.delay needs will.topic"),
        ]
    )
    func errors(variable: String, value: String, explanation: String) {
        #expect(throws: MQTTError.invalidArgument(explanation)) { try configuration([variable: value]) }
    }
}
