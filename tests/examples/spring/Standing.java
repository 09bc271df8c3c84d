import com.fasterxml.jackson.databind.ObjectMapper;
import java.net.InetSocketAddress;
import java.util.EnumSet;
import java.util.List;
import javax.servlet.DispatcherType;
import org.eclipse.jetty.server.HttpConnectionFactory;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.servlet.FilterHolder;
import org.eclipse.jetty.servlet.ServletContextHandler;
import org.eclipse.jetty.servlet.ServletHolder;
import org.example.orders.LockFilter;
import org.example.orders.Orders;
import org.springframework.beans.factory.support.RootBeanDefinition;
import org.springframework.http.converter.json.MappingJackson2HttpMessageConverter;
import org.springframework.web.context.support.GenericWebApplicationContext;
import org.springframework.web.servlet.DispatcherServlet;
import org.springframework.web.servlet.mvc.method.annotation.RequestMappingHandlerAdapter;
import org.springframework.web.servlet.mvc.method.annotation.RequestMappingHandlerMapping;

/** The example's filter and controller in Spring MVC 4.3 and Jetty, where Spring Boot is not to be had. */
public class Standing {
    public static void main(String[] arguments) throws Exception {
        GenericWebApplicationContext context = new GenericWebApplicationContext();
        context.registerBeanDefinition("orders", new RootBeanDefinition(Orders.class));
        RootBeanDefinition mapping = new RootBeanDefinition(RequestMappingHandlerMapping.class);
        mapping.getPropertyValues().add("useSuffixPatternMatch", false); // as Spring 6 has it
        context.registerBeanDefinition("mapping", mapping);
        RootBeanDefinition adapter = new RootBeanDefinition(RequestMappingHandlerAdapter.class);
        adapter.getPropertyValues().add(
                "messageConverters", List.of(new MappingJackson2HttpMessageConverter(new ObjectMapper())));
        context.registerBeanDefinition("adapter", adapter);

        ServletContextHandler handler = new ServletContextHandler();
        handler.addServlet(new ServletHolder(new DispatcherServlet(context)), "/");
        boolean failOpen = "1".equals(System.getenv("FAIL_OPEN"));
        LockFilter filter = new LockFilter(System.getenv("HOLDFAST_URL"), "", failOpen);
        handler.addFilter(new FilterHolder(filter), "/*", EnumSet.of(DispatcherType.REQUEST));
        Server server = new Server(new InetSocketAddress("127.0.0.1", Integer.parseInt(System.getenv("PORT"))));
        ServerConnector connector = (ServerConnector) server.getConnectors()[0];
        // Jetty's Server field is no well-formed one, as the inspector would tell.
        connector.getConnectionFactory(HttpConnectionFactory.class).getHttpConfiguration().setSendServerVersion(false);
        server.setHandler(handler);
        server.setStopAtShutdown(true);
        server.start();
        System.out.println("listening on http://127.0.0.1:" + connector.getLocalPort());
        server.join();
    }
}
