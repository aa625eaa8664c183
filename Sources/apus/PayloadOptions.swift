import ArgumentParser
import NIOCore

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// The ways to give one payload.
struct PayloadOptions: ParsableArguments {
    /// The most that MQTT takes, with what is around it.
    static let bytesMax = 268_435_455

    @Option(name: .shortAndLong, parsing: .unconditional, help: "The payload.")
    var message: String?

    @Option(name: .shortAndLong, parsing: .unconditional, help: "A file whose content is the payload.")
    var file: String?

    @Flag(
        name: [.customShort("s"), .customLong("stdin-file"), .customLong("stdin")],
        help: "All of standard input is the payload."
    )
    var stdin = false

    @Flag(name: [.customShort("n"), .customLong("null-message")], help: "An empty payload.")
    var empty = false

    var waysGiven: Int { [message != nil, file != nil, stdin, empty].count { $0 } }

    func payload() async throws -> ByteBuffer {
        if let file { return try await content(of: file) }
        guard stdin else { return ByteBuffer(string: message ?? "") }
        var input = StandardInput()
        return try await input.all(bytesMax: Self.bytesMax)
    }

    private func content(of file: String) async throws -> ByteBuffer {
        let descriptor = open(file, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw CommandFailure("cannot read \(file): \(String(cString: strerror(errno)))")
        }
        defer { close(descriptor) }
        var input = StandardInput(descriptor: descriptor)
        do {
            return try await input.all(bytesMax: Self.bytesMax)
        } catch let failure as CommandFailure {
            throw CommandFailure("\(file): \(failure)")
        }
    }
}
