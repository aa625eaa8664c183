import MQTTCore

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
    /// Event loops; nil is one for each core.
    public var threads: Int?
    /// What clients can make the broker spend.
    public var limits = Limits()
    /// How long a connection has to send CONNECT (MQTT 5.0, section 3.1.4).
    public var connectTimeout = Duration.seconds(30)
    /// Seconds; a client that asks for more, or for none, is given this one (section 3.2.2.3.14). 0 is no maximum.
    public var keepAliveMax: UInt16 = 0
    /// What clients that ask for it are told to base their response topics on (section 3.2.2.3.15).
    public var responseInformation: String?

    /// The defaults.
    public init() {}
}
