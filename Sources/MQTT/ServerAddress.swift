/// Where a server is, and who asks: what a URL such as `mqtt://user:password@host:1883` says.
public struct ServerAddress: Sendable, Hashable {
    /// A name or an IP address.
    public var host: String
    /// The TCP port, 1 to 65,535.
    public var port: Int
    /// Sent with CONNECT, unless the configuration has another.
    public var userName: String?
    /// Sent with CONNECT, unless the configuration has another.
    public var password: String?

    /// The port of MQTT over TCP.
    public static let defaultPort = 1_883

    /// A server by its host.
    public init(host: String = "localhost", port: Int = defaultPort, userName: String? = nil, password: String? = nil) {
        self.host = host
        self.port = port
        self.userName = userName
        self.password = password
    }

    var isValid: Bool { (1...65_535).contains(port) }

    /// Reads `mqtt://[user[:password]@]host[:port]`; `tcp://` means the same. User and password may be percent-encoded.
    public init(_ url: String) throws(MQTTError) {
        guard let schemeEnd = url.firstRange(of: "://") else { throw Self.invalid(url, "no scheme") }
        let scheme = url[..<schemeEnd.lowerBound].lowercased()
        guard scheme == "mqtt" || scheme == "tcp" else { throw Self.invalid(url, "the scheme is not mqtt or tcp") }
        var rest = url[schemeEnd.upperBound...]
        if let slash = rest.firstIndex(of: "/") {
            guard rest[slash...] == "/" else { throw Self.invalid(url, "a path means nothing here") }
            rest = rest[..<slash]
        }
        var (userName, password): (String?, String?) = (nil, nil)
        if let at = rest.lastIndex(of: "@") {
            let parts = rest[..<at].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            userName = try Self.decoded(parts[0], of: url)
            password = parts.count > 1 ? try Self.decoded(parts[1], of: url) : nil
            rest = rest[rest.index(after: at)...]
        }
        let (host, port) = try Self.hostAndPort(rest, of: url)
        self.init(host: host, port: port, userName: userName, password: password)
    }

    /// The first of a Server Reference: hosts with or without ports, separated by spaces (MQTT 5.0, section 4.11). The
    /// client is the same there as at the server that has given it.
    init?(reference: String, credentialsOf server: ServerAddress?) {
        guard let first = reference.split(separator: " ").first,
            let (host, port) = try? Self.hostAndPort(first, of: reference)
        else { return nil }
        self.init(host: host, port: port, userName: server?.userName, password: server?.password)
    }

    private static func hostAndPort(_ text: Substring, of url: String) throws(MQTTError) -> (String, Int) {
        var host = text
        var portText: Substring?
        if text.first == "[" {
            guard let end = text.firstIndex(of: "]") else { throw invalid(url, "the address has no end") }
            host = text[text.index(after: text.startIndex)..<end]
            let behind = text[text.index(after: end)...]
            guard behind.isEmpty || behind.first == ":" else { throw invalid(url, "what follows ] is no port") }
            portText = behind.isEmpty ? nil : behind.dropFirst()
        } else if let colon = text.lastIndex(of: ":") {
            host = text[..<colon]
            portText = text[text.index(after: colon)...]
        }
        guard !host.isEmpty else { throw invalid(url, "no host") }
        guard let portText else { return (String(host), defaultPort) }
        guard let port = Int(portText), (1...65_535).contains(port) else {
            throw invalid(url, "the port is not from 1 to 65535")
        }
        return (String(host), port)
    }

    private static func decoded(_ text: Substring, of url: String) throws(MQTTError) -> String {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            let digits = rest.prefix(2)
            guard digits.count == 2, let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 16) else {
                throw invalid(url, "a percent sign without two digits")
            }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        guard let decoded = String(validating: bytes, as: UTF8.self) else { throw invalid(url, "not UTF-8") }
        return decoded
    }

    /// Without the URL's credentials: errors are logged.
    private static func invalid(_ url: String, _ why: String) -> MQTTError {
        let shown = url.lastIndex(of: "@").map { "…" + url[$0...] } ?? url
        return .invalidArgument("not a URL of an MQTT server, \(why): \(shown)")
    }
}

extension ServerAddress: CustomStringConvertible {
    /// Without user name and password.
    public var description: String { host.contains(":") ? "mqtt://[\(host)]:\(port)" : "mqtt://\(host):\(port)" }
}
