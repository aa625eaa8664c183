import NIOCore

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// Errors of connections in the system's words, without where in the program they were noticed.
enum SystemCause {
    static func of(_ error: any Error) -> String {
        switch error {
        case let error as IOError: String(cString: strerror(error.errnoCode))
        case let error as SocketAddressError.UnknownHost: error.errorDescription
        case ChannelError.connectTimeout: "it does not answer"
        default: "\(error)"
        }
    }
}
