import ArgumentParser
import MQTTPackets
import MQTTSessions
import NIOCore
import NIOFileSystem

struct Pub: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Publish messages.",
        discussion: "Takes the flags of mosquitto_pub for what it can do."
    )

    @OptionGroup var connection: ConnectionOptions

    @Option(name: .shortAndLong, help: "The topic.")
    var topic: String

    @Option(name: [.customShort("m"), .long], help: "The payload.")
    var message: String?

    @Option(name: [.customShort("f"), .long], help: "A file whose content is the payload.")
    var file: String?

    @Flag(name: [.customShort("l"), .customLong("stdin-line")], help: "A message for each line of standard input.")
    var lines = false

    @Flag(name: [.customShort("n"), .customLong("null-message")], help: "An empty payload.")
    var empty = false

    @Option(name: .shortAndLong, help: "Quality of service: 0, 1 or 2.")
    var qos: QoS = .atMostOnce

    @Flag(name: .shortAndLong, help: "Let the broker retain the message.")
    var retain = false

    func validate() throws {
        guard Topics.isValidName(topic) else {
            throw ValidationError("-t is a topic name: at least one character, without + and #.")
        }
        let sources = [message != nil, file != nil, lines, empty].filter { $0 }.count
        guard sources == 1 else { throw ValidationError("Give the payload in one way: -m, -f, -l or -n.") }
    }

    func run() async throws {
        let payload = try await payload()
        try await Connection.with(connection) { connection in
            if lines {
                while let line = readLine() { try await publish(ByteBuffer(string: line), &connection) }
            } else {
                try await publish(payload, &connection)
            }
        }
    }

    private func payload() async throws -> ByteBuffer {
        guard let file else { return ByteBuffer(string: message ?? "") }
        do {
            return try await ByteBuffer(contentsOf: FilePath(file), maximumSizeAllowed: .mebibytes(256))
        } catch {
            throw CommandFailure("cannot read \(file): \(error)")
        }
    }

    /// Returns once the guarantee of the QoS holds.
    private func publish(_ payload: ByteBuffer, _ connection: inout Connection) async throws {
        let publish = Publish(topic: topic, payload: payload, qos: qos, isRetained: retain)
        guard let number = try await connection.publish(publish) else { return }
        while let event = try await connection.next() {
            guard case .published(number, let reason) = event else { continue }
            if reason.isError { throw CommandFailure("the broker refused the message: \(reason)") }
            return
        }
        throw CommandFailure("the connection was lost before the broker had the message")
    }
}

extension QoS: ExpressibleByArgument {
    /// 0, 1 or 2.
    public init?(argument: String) {
        guard let value = UInt8(argument) else { return nil }
        self.init(rawValue: value)
    }
}
