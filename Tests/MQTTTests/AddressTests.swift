import MQTT
import MQTTTesting
import Testing

@Suite struct AddressTests {
    @Test("a URL says host, port, user name and password")
    func parts() throws {
        #expect(try ServerAddress("mqtt://example.org") == ServerAddress(host: "example.org", port: 1_883))
        #expect(try ServerAddress("TCP://10.0.0.1:1/") == ServerAddress(host: "10.0.0.1", port: 1))
        #expect(try ServerAddress("mqtt://[::1]:99") == ServerAddress(host: "::1", port: 99))
        #expect(try ServerAddress("mqtt://[::1]") == ServerAddress(host: "::1"))
        let full = try ServerAddress("mqtt://a%40b:p:w%2F%c3%a4@host:8883")
        #expect(full == ServerAddress(host: "host", port: 8_883, userName: "a@b", password: "p:w/\u{E4}"))
        #expect(try ServerAddress("mqtt://u@host").password == nil)
    }

    @Test(
        "what is no such URL throws, and its password does not show",
        arguments: [
            "", "host", "http://host", "mqtts://host", "mqtt://", "mqtt://:1883", "mqtt://host:", "mqtt://host:0",
            "mqtt://host:65536", "mqtt://host:x", "mqtt://host/path", "mqtt://[::1", "mqtt://[::1]x",
            "mqtt://u:secret%@host", "mqtt://u:secret%4@host", "mqtt://u:secret%ff@host", "mqtt://u:secret@",
        ]
    )
    func wrong(_ url: String) {
        let error = #expect(throws: MQTTError.self) { try ServerAddress(url) }
        #expect(error?.description.contains("secret") == false)
    }

    @Test("a port that is none is no server", arguments: [0, -1, 65_536, 70_000])
    func port(_ port: Int) {
        let configuration = MQTTClient.Configuration.test(ServerAddress(host: "127.0.0.1", port: port)) {
            $0.reconnect = .never
        }
        #expect(throws: MQTTError.self) { try MQTTClient(configuration, logger: quiet) }
    }

    @Test("nor is it one where prepareConnection says so")
    func preparedPort() async throws {
        let configuration = MQTTClient.Configuration.test(ServerAddress()) {
            $0.prepareConnection = { $0.server.port = 70_000 }
        }
        let client = try MQTTClient(configuration, logger: quiet)
        let error = MQTTError.invalidArgument("70000 is not a port, 1 to 65535")
        await #expect(throws: error) { try await client.run() }
    }
}
