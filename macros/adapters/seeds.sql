{# The rows of a seed, as dbt-spark has it but for what is null and what has a quote in it: its sessions make the text
   `None` of the one, and an error of the other. dbt looks here where this is the project that runs, or where that
   says so: `dispatch: [{macro_namespace: dbt, search_order: [my_project, revetl, dbt]}]`. #}
{% macro spark__load_csv_rows(model, agate_table) -%}
    {% set types = model['config'].get('column_types', {}) %}
    {% set statements = [] %}
    {% for chunk in agate_table.rows | batch(get_batch_size()) %}
        {% set rows = [] %}
        {% for row in chunk %}
            {% set values = [] %}
            {% for name in agate_table.column_names %}
                {% set value = 'null' if row[loop.index0] is none else revetl.text_literal(row[loop.index0] | string) %}
                {% do values.append('cast(' ~ value ~ ' as '
                    ~ types.get(name, adapter.convert_type(agate_table, loop.index0)) ~ ')') %}
            {% endfor %}
            {% do rows.append('(' ~ values | join(', ') ~ ')') %}
        {% endfor %}
        {% do statements.append('insert into ' ~ this.render() ~ ' values ' ~ rows | join(', ')) %}
        {% do adapter.add_query(statements[-1], abridge_sql_log=True) %}
    {% endfor %}
    {{ return(statements[0]) }}
{%- endmacro %}
