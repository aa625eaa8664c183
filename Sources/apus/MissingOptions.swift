import ArgumentParser

/// What the clients of mosquitto and MQTT.js have and these tools do not have yet. Whoever gives it is told so.
struct MissingOptions: ParsableArguments {
    @Option(
        name: [
            .customLong("cafile"), .customLong("ca"), .customLong("capath"), .customLong("cert"), .customLong("key"),
            .customLong("keyform"), .customLong("ciphers"), .customLong("tls-alpn"), .customLong("tls-engine"),
            .customLong("tls-engine-kpass-sha1"), .customLong("tls-version"), .customLong("psk"),
            .customLong("psk-identity"),
        ],
        parsing: .unconditionalSingleValue,
        help: .hidden
    )
    var tls: [String] = []

    @Flag(name: [.customLong("insecure"), .customLong("tls-use-os-certs")], help: .hidden)
    var tlsFlag = false

    @Option(parsing: .unconditional, help: .hidden)
    var proxy: String?

    @Flag(name: .customShort("S"), help: .hidden)
    var srv = false

    /// Of MQTT.js, which can say mqtt with it.
    @Option(name: .customLong("protocol"), help: .hidden)
    var scheme: String?

    func validate() throws {
        guard tls.isEmpty, !tlsFlag else { throw Self.noTLS }
        guard proxy == nil else { throw ValidationError("--proxy is not there: these tools connect directly.") }
        guard !srv else { throw ValidationError("-S is not there: these tools look up addresses, no SRV records.") }
        guard let scheme else { return }
        try Self.check(scheme: scheme)
        guard ["mqtt", "tcp"].contains(scheme) else { throw ValidationError("--protocol cannot be \(scheme).") }
    }

    /// That of a URL, whatever stands behind it.
    static func check(scheme: String) throws {
        switch scheme.prefix(while: { $0 != ":" }).lowercased() {
        case "mqtts", "ssl", "tls", "wss": throw noTLS
        case "ws": throw ValidationError("WebSockets are not there yet: these tools speak MQTT over TCP alone.")
        default: return
        }
    }

    private static var noTLS: ValidationError {
        ValidationError("TLS is not there yet: these tools speak MQTT over TCP, or a Unix domain socket, alone.")
    }
}
