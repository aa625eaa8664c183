import ArgumentParser

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// Bytes for standard output, many with one write.
struct StandardOutput: Sendable {
    /// Beyond this much `print` flushes by itself.
    private static let bytesMax = 64 << 10

    private var bytes: [UInt8] = []

    static let isTerminal = isatty(STDOUT_FILENO) == 1

    mutating func print(_ line: String) throws {
        bytes += line.utf8
        bytes.append(UInt8(ascii: "\n"))
        if bytes.count >= Self.bytesMax { try flush() }
    }

    mutating func append(_ more: some Sequence<UInt8>) { bytes += more }

    /// Who reads us may have had enough, as `head` does: then the program ends without a word.
    mutating func flush() throws {
        var at = 0
        while at < bytes.count {
            let written = bytes[at...].withUnsafeBytes { write(STDOUT_FILENO, $0.baseAddress, $0.count) }
            if written >= 0 {
                at += written
                continue
            }
            switch errno {
            case EINTR: continue
            case EAGAIN:
                var descriptor = pollfd(fd: STDOUT_FILENO, events: Int16(POLLOUT), revents: 0)
                _ = poll(&descriptor, 1, -1)
            case EPIPE: throw ExitCode.success
            default: throw CommandFailure("cannot print: \(String(cString: strerror(errno)))")
            }
        }
        bytes.removeAll(keepingCapacity: bytes.capacity <= Self.bytesMax * 2)
    }

    /// Waits until nobody reads standard output any more, which only a pipe can tell; then throws as `flush` does.
    static func waitForBrokenPipe() async throws {
        var status = stat()
        guard fstat(STDOUT_FILENO, &status) == 0, [S_IFIFO, S_IFSOCK].contains(status.st_mode & S_IFMT) else {
            // For as long as the program lasts.
            return try await Task.sleep(for: .seconds(1 << 30))
        }
        while true {
            try await Task.sleep(for: .milliseconds(200))
            var descriptor = pollfd(fd: STDOUT_FILENO, events: 0, revents: 0)
            if poll(&descriptor, 1, 0) == 1, descriptor.revents & Int16(POLLERR) != 0 { throw ExitCode.success }
        }
    }
}

/// The size of the terminal behind standard output.
struct TerminalSize {
    var columns = 80
    var rows = 24

    init() {
        var size = winsize()
        guard ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0, size.ws_row > 0 else { return }
        columns = Int(size.ws_col)
        rows = Int(size.ws_row)
    }
}

/// Bytes that somebody sent, for the eyes.
enum Printable {
    /// Control characters and what is not UTF-8 as `\x1b`, so that a message cannot command the terminal.
    static func escaped(_ bytes: some Collection<UInt8>) -> [UInt8] {
        var shown: [UInt8] = []
        shown.reserveCapacity(bytes.count)
        var decoder = UTF8()
        var rest = bytes[...]
        while let first = rest.first {
            var iterator = rest.makeIterator()
            guard case .scalarValue(let scalar) = decoder.decode(&iterator) else {
                escape(first, into: &shown)
                rest = rest.dropFirst()
                decoder = UTF8()
                continue
            }
            let encoded = Array(String(Character(scalar)).utf8)
            if isCommand(scalar) {
                for byte in encoded { escape(byte, into: &shown) }
            } else {
                shown += encoded
            }
            rest = rest.dropFirst(encoded.count)
            decoder = UTF8()
        }
        return shown
    }

    private static func isCommand(_ scalar: Unicode.Scalar) -> Bool {
        guard scalar != "\n", scalar != "\t" else { return false }
        return [.control, .format].contains(scalar.properties.generalCategory)
    }

    /// On one line, cut to so many characters.
    static func line(_ bytes: some Collection<UInt8>, characters: Int) -> String {
        let text = String(decoding: escaped(bytes.prefix(characters * 4)), as: UTF8.self)
        let flat = String(text.map { $0 == "\n" || $0 == "\r\n" || $0 == "\t" ? " " : $0 })
        return flat.count > characters ? flat.prefix(max(0, characters - 1)) + "…" : flat
    }

    /// Text that may have in it what a broker has sent, such as its reasons.
    static func sentence(_ text: String) -> String { line(text.utf8, characters: 2_000) }

    private static func escape(_ byte: UInt8, into shown: inout [UInt8]) {
        shown += "\\x".utf8
        shown += hexDigits(byte)
    }

    static func hexDigits(_ byte: UInt8, uppercase: Bool = false) -> [UInt8] {
        let digits = Array((uppercase ? "0123456789ABCDEF" : "0123456789abcdef").utf8)
        return [digits[Int(byte >> 4)], digits[Int(byte & 15)]]
    }

    static func base64(_ bytes: some Collection<UInt8>) -> [UInt8] {
        let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        var encoded: [UInt8] = []
        encoded.reserveCapacity((bytes.count + 2) / 3 * 4)
        var rest = bytes[...]
        while !rest.isEmpty {
            let group = Array(rest.prefix(3))
            rest = rest.dropFirst(3)
            let bits = group.reduce(0) { $0 << 8 | Int($1) } << (8 * (3 - group.count))
            for at in 0..<4 {
                encoded.append(at <= group.count ? digits[bits >> (18 - 6 * at) & 63] : UInt8(ascii: "="))
            }
        }
        return encoded
    }
}
