import ArgumentParser
import Logging
import MQTT
import MQTTPackets
import NIOCore

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// What the tools have in common: whom to talk to, and as whom. Named as in mosquitto's clients, and in MQTT.js.
struct ConnectionOptions: ParsableArguments {
    /// Not -h, which is the host; -H as MQTT.js has it.
    static let helpNames: NameSpecification = [.long, .customShort("H")]

    @Option(
        name: [.customShort("h"), .customLong("host"), .customLong("hostname")],
        help: "The broker's host; localhost unless given."
    )
    var host: String?

    @Option(name: .shortAndLong, help: "The broker's port; 1883 unless given.")
    var port: Int?

    @Option(name: [.customShort("L"), .customLong("url")], help: "mqtt://[user[:password]@]host[:port][/topic]")
    var url: String?

    @Option(help: "A Unix domain socket of the broker's, in place of host and port.")
    var unix: String?

    @Option(
        name: [.customShort("A"), .long],
        help: "The address of this machine that connections are made from."
    )
    var bindAddress: String?

    @Option(
        name: [.customShort("V"), .customLong("protocol-version")],
        help: "The version of the protocol: 3.1, 3.1.1 or 5."
    )
    var version: ProtocolVersion = .v5

    @Option(
        name: [.customShort("i"), .customLong("id"), .customLong("client-id"), .customLong("clientId")],
        parsing: .unconditional,
        help: "The client identifier; made up unless given."
    )
    var id: String?

    @Option(
        name: [.customShort("I"), .long],
        parsing: .unconditional,
        help: "What a client identifier that is made up begins with."
    )
    var idPrefix: String?

    @Option(
        name: .shortAndLong,
        parsing: .unconditional,
        help: "The user name; the environment's APUS_USERNAME unless given."
    )
    var username: String?

    @Option(
        name: [.customShort("P"), .customLong("pw"), .customLong("password")],
        parsing: .unconditional,
        help: "The password, which all users of this machine can see; better APUS_PASSWORD or --password-file."
    )
    var password: String?

    @Option(help: "A file whose first line is the password.")
    var passwordFile: String?

    @Option(
        name: [.customShort("k"), .customLong("keepalive"), .customLong("keep-alive")],
        help: "Keep alive in seconds; 0 turns it off."
    )
    var keepalive: UInt16 = 60

    @Flag(
        name: [.customShort("c"), .customLong("disable-clean-session"), .customLong("no-clean")],
        help: "Keep the session, here and after the end; with -i."
    )
    var disableCleanSession = false

    @Option(
        name: [.customShort("x"), .customLong("session-expiry-interval")],
        parsing: .unconditional,
        help: "Seconds that the session outlives the connection, -1 for ever; for ever with -c unless given. 5.0 only."
    )
    var sessionExpiry: SessionExpiryOption?

    @Option(parsing: .unconditional, help: "Where the will is published.")
    var willTopic: String?

    @Option(
        name: [.customLong("will-payload"), .customLong("will-message")],
        parsing: .unconditional,
        help: "The will's payload; empty unless given."
    )
    var willPayload: String?

    @Option(help: "The will's quality of service.")
    var willQos: QoS = .atMostOnce

    @Flag(help: "Let the broker retain the will.")
    var willRetain = false

    @Option(
        name: [.customShort("D"), .long],
        help: ArgumentHelp(
            "A property of 5.0 of one of the packets; a user property has a name before its value.",
            discussion: "Example: -D publish user-property name value. Several may be given.",
            valueName: "command property value"
        ),
        transform: PropertyOption.init(parsing:)
    )
    var property: [PropertyOption] = []

    @Option(
        help: ArgumentHelp(
            "Seconds that the broker may take for an answer, such as CONNACK, SUBACK or PUBACK; 30 unless given.",
            valueName: "seconds"
        )
    )
    var answerTimeout: Double?

    @Flag(help: "Taken as mosquitto has it; small packets are never held back.")
    var nodelay = false

    @OptionGroup var missing: MissingOptions

    @Flag(help: "Say nothing of errors and lost connections; the exit code tells.")
    var quiet = false

    @Flag(name: .shortAndLong, help: "Tell on standard error what happens.")
    var debug = false

    func validate() throws {
        try validateServer()
        if let answerTimeout, !(answerTimeout > 0 && answerTimeout <= 1_000_000) {
            throw ValidationError("--answer-timeout is a number of seconds above 0.")
        }
        if id != nil && idPrefix != nil { throw ValidationError("Give -i or -I.") }
        if !property.isEmpty && version < .v5 { throw ValidationError("-D needs MQTT 5, which -V 5 speaks.") }
        if sessionExpiry != nil && version < .v5 { throw ValidationError("-x needs MQTT 5, which -V 5 speaks.") }
        if disableCleanSession && (id ?? "").isEmpty {
            throw ValidationError("-c needs the identifier of the session, -i.")
        }
        if password != nil && passwordFile != nil {
            throw ValidationError("Give the password in one way: -P or --password-file.")
        }
        guard let willTopic else {
            guard willPayload == nil, willQos == .atMostOnce, !willRetain else {
                throw ValidationError("A will needs --will-topic.")
            }
            return
        }
        guard Topics.isValidName(willTopic) else { throw ValidationError("--will-topic is a topic name.") }
    }

    private func validateServer() throws {
        if let port, !(1...65_535).contains(port) { throw ValidationError("-p is a port from 1 to 65535.") }
        if host?.isEmpty == true { throw ValidationError("-h is a name or an address.") }
        if let unix {
            guard host == nil, port == nil, url == nil, bindAddress == nil else {
                throw ValidationError("--unix stands in place of -h, -p, -L and -A.")
            }
            // What the system's calls take.
            guard (1...107).contains(unix.utf8.count) else {
                throw ValidationError("--unix is a path of 1 to 107 bytes.")
            }
        }
        if let url { try MissingOptions.check(scheme: url) }
        do { _ = try server } catch { throw ValidationError("\(error).") }
    }

    /// The options for packets that the tool does not send are mistakes.
    func allowProperties(of places: Set<PropertyOption.Place>) throws {
        if let stray = property.first(where: { !places.contains($0.place) }) {
            throw ValidationError("No \(stray.place.rawValue.uppercased()) is sent here, so it has no properties.")
        }
    }

    /// What stands behind the host in -L.
    var topicOfURL: String? {
        guard let url, let slash = Self.path(of: url) else { return nil }
        let topic = url[url.index(after: slash)...]
        return topic.isEmpty ? nil : String(topic)
    }

    private static func path(of url: String) -> String.Index? {
        guard let scheme = url.firstRange(of: "://") else { return nil }
        return url[scheme.upperBound...].firstIndex(of: "/")
    }

    var server: ServerAddress {
        get throws(MQTTError) {
            var server = ServerAddress()
            if let url { server = try ServerAddress(Self.path(of: url).map { String(url[..<$0]) } ?? url) }
            // In brackets as in a URL, too.
            if let host {
                server.host = host.first == "[" && host.last == "]" ? String(host.dropFirst().dropLast()) : host
            }
            if let port { server.port = port }
            return server
        }
    }

    /// How long an answer may take.
    var answerSeconds: Double { answerTimeout ?? 30 }

    /// The broker, for the eyes.
    var serverName: String { unix ?? (try? server.description) ?? "" }

    /// What the connections go through.
    private var transport: ClientTransport {
        get throws {
            if let unix { return .unix(path: unix) }
            guard let bindAddress else { return .tcp }
            do {
                return .tcp(from: try SocketAddress.makeAddressResolvingHost(bindAddress, port: 0))
            } catch {
                throw CommandFailure("-A \(bindAddress) is no address, and no name of one")
            }
        }
    }

    /// How a client is set up; `number` tells clients of one command apart.
    func configuration(number: Int? = nil) throws -> MQTTClient.Configuration {
        var configuration = MQTTClient.Configuration(server: try server)
        configuration.environment.transport = try transport
        configuration.connectTimeout = .seconds(answerSeconds)
        configuration.version = version
        let given = id ?? idPrefix.map { $0 + "\(getpid())" }
        let madeUp = "apus-" + String(UInt32.random(in: .min ... .max), radix: 36)
        configuration.clientID = (given ?? madeUp) + (number.map { "-\($0)" } ?? "")
        configuration.keepAlive = .seconds(Int64(keepalive))
        configuration.cleanStart = !disableCleanSession
        configuration.sessionExpiry = sessionExpiry?.expiry ?? (disableCleanSession ? .never : .withConnection)
        configuration.userName = username ?? environment("APUS_USERNAME")
        configuration.password = try secret.map { ByteBuffer(string: $0) }
        configuration.will = willTopic.map { topic in
            Will(
                topic: topic,
                payload: ByteBuffer(string: willPayload ?? ""),
                qos: willQos,
                isRetained: willRetain,
                properties: property.properties(of: .will)
            )
        }
        setConnectProperties(&configuration)
        let expiry = property.properties(of: .disconnect)[integer: .sessionExpiryInterval] ?? 0
        if expiry > 0 && [.withConnection, .after(.zero)].contains(configuration.sessionExpiry) {
            throw CommandFailure("-D disconnect session-expiry-interval needs a session that lasts, with -x.")
        }
        return configuration
    }

    /// Those that the client library has settings for go there.
    private func setConnectProperties(_ configuration: inout MQTTClient.Configuration) {
        var properties = property.properties(of: .connect)
        if let interval = properties[integer: .sessionExpiryInterval], sessionExpiry == nil {
            configuration.sessionExpiry = interval == .max ? .never : .after(.seconds(Int64(interval)))
        }
        if let maximum = properties[integer: .receiveMaximum] { configuration.receiveMaximum = Int(maximum) }
        if let maximum = properties[integer: .topicAliasMaximum] { configuration.topicAliasesMax = Int(maximum) }
        if let maximum = properties[integer: .maximumPacketSize] { configuration.packetBytesMax = maximum }
        if properties[integer: .requestResponseInformation] == 1 { configuration.requestsResponseInformation = true }
        for identifier in [
            PropertyIdentifier.sessionExpiryInterval, .receiveMaximum, .topicAliasMaximum, .maximumPacketSize,
            .requestResponseInformation,
        ] { properties.removeAll(identifier) }
        configuration.connectProperties = properties
    }

    private var secret: String? {
        get throws {
            if let password { return password }
            guard let passwordFile else { return environment("APUS_PASSWORD") }
            guard let file = fopen(passwordFile, "r") else {
                throw CommandFailure("cannot read \(passwordFile): \(String(cString: strerror(errno)))")
            }
            defer { fclose(file) }
            var line = [CChar](repeating: 0, count: 65_538)
            guard fgets(&line, Int32(line.count), file) != nil else {
                throw CommandFailure("there is no password in \(passwordFile)")
            }
            let bytes = line.prefix { $0 != 0 && $0 != 10 && $0 != 13 }.map(UInt8.init(bitPattern:))
            return String(decoding: bytes, as: UTF8.self)
        }
    }

    private func environment(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
}

/// The seconds of -x.
struct SessionExpiryOption: ExpressibleByArgument {
    let expiry: MQTTClient.SessionExpiry

    init?(argument: String) {
        switch argument {
        case "-1", "∞", "4294967295": expiry = .never
        case "0": expiry = .withConnection
        default:
            guard let seconds = UInt32(argument) else { return nil }
            expiry = .after(.seconds(Int64(seconds)))
        }
    }
}

extension ProtocolVersion: ExpressibleByArgument {
    /// The versions as mosquitto's clients name them.
    public init?(argument: String) {
        switch argument {
        case "3", "3.1", "31", "mqttv31": self = .v3_1
        case "4", "3.1.1", "311", "mqttv311": self = .v3_1_1
        case "5", "5.0", "mqttv5": self = .v5
        default: return nil
        }
    }

    /// As it is given.
    public var defaultValueDescription: String { self == .v5 ? "5" : self == .v3_1_1 ? "3.1.1" : "3.1" }
    /// For the help, which says them in words.
    public static var allValueStrings: [String] { [] }
    /// For the help, which says them in words.
    public static var allValueDescriptions: [String: String] { [:] }
}

extension QoS: ExpressibleByArgument {
    /// 0, 1 or 2.
    public init?(argument: String) {
        guard let value = UInt8(argument) else { return nil }
        self.init(rawValue: value)
    }

    /// As it is given.
    public var defaultValueDescription: String { "\(rawValue)" }
    /// For the help, which says them in words.
    public static var allValueStrings: [String] { [] }
    /// For the help, which says them in words.
    public static var allValueDescriptions: [String: String] { [:] }
}
