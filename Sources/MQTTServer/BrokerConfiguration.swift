import Logging
import MQTTCore
import NIOCore

/// How a broker is set up. The defaults listen on this machine alone, at port 1883.
public struct BrokerConfiguration: Sendable {
    /// An address to listen on.
    public struct Address: Sendable, Hashable {
        /// A host name or an IP address; `localhost` is both loopback addresses.
        public var host: String
        /// 0 lets the system choose.
        public var port: Int

        /// An address; by default both loopback addresses at port 1883.
        public init(host: String = "localhost", port: Int = 1883) {
            self.host = host
            self.port = port
        }
    }

    /// Where to listen.
    public var addresses = [Address()]
    /// Event loops; nil is one for every two cores, at least one and at most 4. The other cores have the kernel's part
    /// of the work and the clients on this machine; with more loops than that they mostly wait for each other.
    public var threads: Int?
    /// How many event loops there will be.
    public var loops: Int { max(1, threads ?? min(4, System.coreCount / 2)) }
    /// What clients can make the broker spend.
    public var limits = Limits()
    /// How long a connection has to send CONNECT (MQTT 5.0, section 3.1.4).
    public var connectTimeout = Duration.seconds(30)
    /// How long a hook may take that is waited for; each call has this time.
    public var hookTimeout = Duration.seconds(10)
    /// Seconds; a client that asks for more, or for none, is given this one (section 3.2.2.3.14). 0 is no maximum.
    public var keepAliveMax: UInt16 = 0
    /// What clients that ask for it are told to base their response topics on (section 3.2.2.3.15).
    public var responseInformation: String?

    /// What happens to a message for a session whose queue is full.
    public var queuePolicy = QueuePolicy.dropNewest
    /// How long a connection may take nothing of what it is sent before it is closed.
    public var drainTime = Duration.seconds(60)
    /// How often the broker publishes its figures below `$SYS/broker`; zero is never.
    public var systemTopicsInterval = Duration.seconds(10)
    /// Messages about each client, as other brokers have them; none by default.
    public var clientTopics = ClientTopics.none
    /// In the names of these; chosen at random where it is nil.
    public var brokerID: String?
    /// How often swift-metrics is told the broker's figures.
    public var metricsInterval = Duration.seconds(10)
    /// What is logged of a category, where that is not what the logger itself lets through.
    public var logLevels: [LogCategory: Logger.Level] = [:]
    /// The client whose packets are logged, without their payloads, at level notice.
    public var tracedClientID: String?
    /// The world around it, which tests replace.
    package var environment = BrokerEnvironment.system

    /// The defaults.
    public init() {}
}

/// What a line of the log is about. Lines carry it as their metadata `category`.
public enum LogCategory: String, Sendable, CaseIterable {
    /// The start, the end, and what concerns all.
    case broker
    /// Clients that come and go: info.
    case connections
    /// Messages that were dropped, by session and cause: warning where a limit took them, debug where they expired or
    /// their client was away.
    case drops
    /// Hooks of the embedding program that fail: warning.
    case hooks
    /// The packets of the client that is traced: notice.
    case packets
}

extension BrokerConfiguration {
    func logger(_ category: LogCategory, _ logger: Logger) -> Logger {
        var logger = logger
        logger[metadataKey: "category"] = "\(category.rawValue)"
        if let level = logLevels[category] { logger.logLevel = level }
        return logger
    }
}
