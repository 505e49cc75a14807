{# For `dbt run-operation`: the rows of the query that a macro of this package makes, as a line of JSON, all values as
   texts. The arguments are JSON, in parts in the environment variables REVETL_ARGUMENTS_0 …. #}
{% macro print_rows(macro, parts) %}
    {% set given = [] %}
    {% for part in range(parts) %}
        {% do given.append(env_var('REVETL_ARGUMENTS_' ~ part)) %}
    {% endfor %}
    {% set arguments = fromjson(given | join) %}
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
