import MQTT
import MQTTJournal

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// Publishes the lines of its standard input, and prints each one once it will arrive, whatever happens to this program
/// or to the server: the next run sends what this one did not. With `acknowledged` a line is printed, and the next one read,
/// once the server has it.
///
///     durable-publisher mqtt://localhost ./kept readings 1 < lines
@main
struct DurablePublisher {
    static func main() async throws {
        let arguments = CommandLine.arguments
        let waits = arguments.count == 6 && arguments[5] == "acknowledged"
        guard arguments.count == 5 || waits, let qos = UInt8(arguments[4]).flatMap(QoS.init(rawValue:)),
            qos > .atMostOnce
        else { end(2, "usage: durable-publisher URL DIRECTORY TOPIC QOS [acknowledged], where QOS is 1 or 2") }
        var configuration = try MQTTClient.Configuration(arguments[1])
        configuration.store = Journal(directory: arguments[2], configuration: .client)
        // The session has to outlive the program as well, or the server could not tell a repetition from a new message.
        configuration.cleanStart = false
        configuration.sessionExpiry = .never
        let client = try MQTTClient(configuration)
        let running = Task {
            do { try await client.run() } catch { end(1, "durable-publisher: \(error)") }
        }
        while let line = readLine() {
            if waits {
                try await client.publish(line, to: arguments[3], qos: qos)
            } else {
                try await client.enqueue(ByteBuffer(string: line), to: arguments[3], qos: qos)
            }
            print(line)
            fflush(nil)
        }
        try await client.flush()
        client.disconnect()
        await running.value
    }

    private static func end(_ code: Int32, _ explanation: String) -> Never {
        let line = Array((explanation + "\n").utf8)
        _ = write(STDERR_FILENO, line, line.count)
        exit(code)
    }
}
