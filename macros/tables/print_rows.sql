{# For `dbt run-operation`: the rows of the query that a macro of this package makes, as a line of JSON, all values as
   texts. #}
{% macro print_rows(macro, arguments) %}
    {% set found = run_query(context['revetl'][macro](**arguments)) %}
    {% set rows = [] %}
    {% for row in found.rows %}
        {% set values = {} %}
        {% for name in found.column_names %}
            {% do values.update({name | lower: none if row[name] is none else row[name] | string}) %}
        {% endfor %}
        {% do rows.append(values) %}
    {% endfor %}
    {% do print('revetl-rows:' ~ tojson(rows)) %}
{% endmacro %}
