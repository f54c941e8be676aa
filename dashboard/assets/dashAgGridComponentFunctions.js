// Cells that AG Grid draws for dashboard/components/tables.py: links and small charts.
var dagcomponentfuncs = (window.dashAgGridComponentFunctions = window.dashAgGridComponentFunctions || {});

// A link that Dash's Location follows without loading the page anew; other buttons do what they always do.
dagcomponentfuncs.SondeLink = function (props) {
    var href = props.data && props.data[props.colDef.field + "_href"];
    if (!href) {
        return props.value == null ? "" : props.value;
    }
    function follow(event) {
        if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) {
            return;
        }
        event.preventDefault();
        window.history.pushState({}, "", href);
        window.dispatchEvent(new CustomEvent("_dashprivate_pushstate"));
        window.scrollTo(0, 0);
    }
    return React.createElement("a", {href: href, onClick: follow}, props.value);
};

// A line over the range, from 0 to the row's own greatest figure.
dagcomponentfuncs.SondeSpark = function (props) {
    var figures = props.value || [];
    var top = Math.max.apply(null, figures.concat([0]));
    if (figures.length < 2 || top <= 0) {
        return "";
    }
    var width = 118, height = 20;
    var path = figures.map(function (figure, index) {
        return ((index * width) / (figures.length - 1)).toFixed(1) + "," + (height - 1 - (figure / top) * (height - 3)).toFixed(1);
    });
    return React.createElement(
        "svg",
        {width: width, height: height, className: "spark", viewBox: "0 0 " + width + " " + height},
        React.createElement("polyline", {points: path.join(" "), fill: "none", stroke: "#56b4e9", strokeWidth: 1.3})
    );
};

// What a table without rows says.
dagcomponentfuncs.SondeEmpty = function (props) {
    return React.createElement("span", {className: "no-rows"}, props.text);
};
